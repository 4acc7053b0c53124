from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "moderation.search"

    def ready(self) -> None:
        from moderation.registry import Loop, register
        from moderation.search import index, people, receivers

        receivers.connect()
        register(
            Loop("indexing names", people.index_names, seconds=2, thread="indexing"),
            Loop("indexing messages", index.add_older, seconds=2, thread="indexing"),
        )
