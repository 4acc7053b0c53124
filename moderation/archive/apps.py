from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ArchiveConfig(AppConfig):
    name = "moderation.archive"
    verbose_name = _("Archive")

    def ready(self) -> None:
        from moderation.archive.entry_messages import messages_section
        from moderation.archive.retention import Pruner
        from moderation.audit.sections import register_section
        from moderation.registry import Loop, register

        register_section(messages_section)
        register(Loop("deleting old messages", Pruner().prune, seconds=30, thread="watching"))
