from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RecallConfig(AppConfig):
    name = "recall"
    verbose_name = _("Recalls")

    def ready(self) -> None:
        from moderation.operations.signals import restored
        from moderation.outbox import effects
        from moderation.outbox.recovery import lose_unfinished
        from recall.effect import RecallEffect

        effects.register(RecallEffect())
        restored.connect(lose_unfinished)
