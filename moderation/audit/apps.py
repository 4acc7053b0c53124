from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "moderation.audit"
    verbose_name = _("Audit log")

    def ready(self) -> None:
        # Each class enters itself into `audit.events.EVENTS`.
        autodiscover_modules("events")

        from moderation.audit import jobs
        from moderation.audit.ledger.chain import Sealer
        from moderation.audit.loops import Signer
        from moderation.registry import Loop, register

        register(
            Loop("sealing the audit log", Sealer().seal, seconds=1),
            Loop("signing the audit log", Signer().sign, seconds=10),
            Loop("deleting old exports", jobs.delete_old, seconds=3600, thread="housekeeping", at_once=True),
        )
