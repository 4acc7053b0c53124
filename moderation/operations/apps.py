from django.apps import AppConfig
from django.db.backends.signals import connection_created


class OperationsConfig(AppConfig):
    name = "moderation.operations"

    def ready(self) -> None:
        from moderation.operations.startup import check_encoding

        connection_created.connect(check_encoding)
