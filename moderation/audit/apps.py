from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "moderation.audit"
    verbose_name = _("Audit log")

    def ready(self) -> None:
        # Each class enters itself into `audit.events.EVENTS`.
        autodiscover_modules("events")
