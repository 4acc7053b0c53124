from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class IngestionConfig(AppConfig):
    name = "moderation.ingestion"
    verbose_name = _("Incoming messages")

    def ready(self) -> None:
        from moderation.archive.signals import pruned
        from moderation.ingestion import comparison, deliveries, unreadable
        from moderation.registry import Loop, register

        pruned.connect(unreadable.prune)
        register(
            Loop("reading deliveries", deliveries.process_due, seconds=1),
            Loop("deleting old deliveries", deliveries.prune, seconds=30, thread="watching"),
            # In a thread of its own, because a slow GoEasy must not delay alarms.
            Loop("comparing with history", comparison.compare_due, seconds=30),
        )
