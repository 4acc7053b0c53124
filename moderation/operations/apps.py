from django.apps import AppConfig
from django.db.backends.signals import connection_created


class OperationsConfig(AppConfig):
    name = "moderation.operations"

    def ready(self) -> None:
        from moderation.operations import alarms, housekeeping
        from moderation.operations.startup import check_encoding
        from moderation.registry import Loop, register

        connection_created.connect(check_encoding)
        register(
            Loop("giving a sign of life", housekeeping.give_sign, seconds=5, thread="housekeeping", at_once=True),
            Loop("forgetting what is done", housekeeping.forget, seconds=3600, thread="housekeeping", at_once=True),
            Loop("watching feeds and readers", alarms.watch, seconds=30, thread="watching"),
        )
