"""What templates of any app may ask about the workers."""

from django.http import HttpRequest

from moderation.operations.models import worker_is_alive


def worker(request: HttpRequest) -> dict[str, object]:
    """`worker_is_alive`, which a template evaluates where it uses it, and nowhere else."""
    return {"worker_is_alive": worker_is_alive}
