from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "moderation.audit"
    verbose_name = _("Audit log")

    def ready(self) -> None:
        from moderation.audit import jobs
        from moderation.audit.ledger.chain import Sealer
        from moderation.audit.loops import Signer
        from moderation.registry import Loop, register

        # Import the event classes, which register themselves in `audit.events.EVENTS`.
        autodiscover_modules("events")
        register(
            Loop("sealing the audit log", Sealer().seal, seconds=1),
            Loop("signing the audit log", Signer().sign, seconds=10),
            Loop("deleting old exports", jobs.delete_old, seconds=3600, thread="housekeeping", at_once=True),
        )
