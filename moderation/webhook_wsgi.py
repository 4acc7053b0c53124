"""WSGI application of the process that serves only webhooks (gunicorn_webhook.conf.py)."""

from collections.abc import Callable, Iterable
from typing import Any

from moderation.operations.wsgi import load

console = load(serves_pages=False)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve webhooks and /healthz; answer 404 to everything else."""
    path = environ.get("PATH_INFO", "")
    # Paths may start with SCRIPT_NAME.
    if "/webhooks/" in path or path.endswith("/healthz"):
        return console(environ, start_response)
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [b"Not Found\n"]
