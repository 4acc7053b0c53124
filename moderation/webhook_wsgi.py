"""The WSGI application of the process that serves webhooks alone (gunicorn_webhook.conf.py): no page is found there."""

from collections.abc import Callable, Iterable
from typing import Any

from moderation.operations.wsgi import load

console = load(serves_pages=False)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer webhooks and /healthz as the console does; 404 for everything else."""
    path = environ.get("PATH_INFO", "")
    # Below SCRIPT_NAME, too.
    if "/webhooks/" in path or path.endswith("/healthz"):
        return console(environ, start_response)
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [b"Not Found\n"]
