"""gunicorn's configuration for pages, read from the working directory; command-line options override it.

The webhook has its own process: gunicorn_webhook.conf.py.
"""

import os

worker_class = "moderation.gunicorn_worker.BufferingWorker"
# URLs of lists contain their filters, with up to 50 pairs of ids. gunicorn's default is 4094, its maximum 8190.
limit_request_line = 8190
# The workers' heartbeat files: in memory, so that /tmp does not have to be writable.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def when_ready(server):
    if server.worker_class.__name__ != "BufferingWorker":
        server.log.warning("Slow clients can occupy every thread. Start gunicorn without --worker-class.")


def post_fork(server, worker):
    # On a busy machine the webhook and the worker have priority: a page may be late, an acknowledgement may not.
    os.nice(10)
