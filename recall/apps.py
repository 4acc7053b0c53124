from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RecallConfig(AppConfig):
    name = "recall"
    verbose_name = _("Recalls")

    def ready(self) -> None:
        from moderation.registry import Loop, register, restored
        from recall import queue, verify
        from recall.restored import stop_unfinished

        restored.connect(stop_unfinished)
        register(
            Loop("checking recalls against history", verify.check_due, seconds=2),
            Loop("queueing what a dead worker left", queue.tidy, seconds=5, thread="housekeeping", at_once=True),
        )
