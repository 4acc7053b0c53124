"""gunicorn's threaded worker with request buffering: a thread handles a request only when it has arrived completely.

gunicorn's own `gthread` reads a request in one of its threads for as long as the client takes, so that a few dozen
slow clients occupy all threads. Here the worker's event loop reads headers and body (large bodies into a temporary
file), and no thread ever reads from a socket. nginx does the same with `proxy_request_buffering`; this also works
without a proxy, and behind one that does not buffer.

Limits: a request must arrive within ARRIVAL_SECONDS. When more than MAX_ARRIVING requests or MAX_BYTES of them are
arriving, the oldest is dropped; a legitimate one arrives within moments. A body that will not be read (a webhook that
is unsigned or too large) is not waited for; the application answers without it.

It overrides undocumented methods of gunicorn's ThreadWorker: run the tests of slow clients after an upgrade of it.
"""

from moderation.gunicorn_worker.arrival import ARRIVAL_SECONDS
from moderation.gunicorn_worker.worker import BufferingWorker, WebhookWorker

__all__ = ["ARRIVAL_SECONDS", "BufferingWorker", "WebhookWorker"]
