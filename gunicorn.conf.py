"""What the pages' gunicorn reads from the folder that it is started in, beside its command line.

The webhook has a process of its own: gunicorn_webhook.conf.py.
"""

import os

worker_class = "moderation.gunicorn_worker.BufferingWorker"
# The filters of a list are in its address, 50 pairs of ids among them: gunicorn's own limit is 4094, its highest 8190.
limit_request_line = 8190
# Where each process says that it lives: in memory, so that neither /tmp nor anything else need be writable for it.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def when_ready(server):
    if server.worker_class.__name__ != "BufferingWorker":
        server.log.warning("Clients that send slowly can occupy every thread: start gunicorn without --worker-class.")


def post_fork(server, worker):
    # On a machine that is busy the webhook and the worker go first: a page may be late, an acknowledgement may not.
    os.nice(10)
