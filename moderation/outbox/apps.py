from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OutboxConfig(AppConfig):
    name = "moderation.outbox"
    verbose_name = _("Outbox")

    def ready(self) -> None:
        from moderation.outbox import tasks
        from moderation.outbox.recovery import lose_unfinished
        from moderation.registry import Loop, register, restored

        restored.connect(lose_unfinished)
        register(Loop("queueing what a dead worker left", tasks.tidy, seconds=5, thread="housekeeping", at_once=True))
