"""What the task queue wakes a worker for. A task takes an id and calls a service."""

from uuid import UUID

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task  # type: ignore[no-redef]

from recall import engine


@task()
def send(recall_id: str) -> None:
    """Send what is left to send of one recall."""
    engine.send_recall(UUID(recall_id))
