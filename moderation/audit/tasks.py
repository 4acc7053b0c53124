"""Tasks of the queue. A task takes an id and calls a function of `jobs`."""

from uuid import UUID

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task  # type: ignore[no-redef]

from moderation.audit import jobs


@task()
def work(job_id: str) -> None:
    """Run a job."""
    jobs.work(UUID(job_id))
