from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RecallConfig(AppConfig):
    name = "recall"
    verbose_name = _("Recalls")

    def ready(self) -> None:
        from moderation.outbox import effects
        from moderation.registry import Loop, register
        from recall import verify
        from recall.effect import RecallEffect

        effects.register(RecallEffect())
        register(Loop("checking recalls against history", verify.check_due, seconds=2))
