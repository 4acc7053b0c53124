from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RecallConfig(AppConfig):
    name = "recall"
    verbose_name = _("Recalls")

    def ready(self) -> None:
        from moderation.operations.signals import restored
        from recall.restored import stop_unfinished

        restored.connect(stop_unfinished)
