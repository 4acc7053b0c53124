"""gunicorn's configuration for the webhook process: `gunicorn --config gunicorn_webhook.conf.py`.

Command-line options override it. GoEasy waits three seconds for an answer and stops after three failures, so neither
pages nor slow clients may occupy the threads or the processor that answer it.
"""

import os

wsgi_app = "moderation.webhook_wsgi"
worker_class = "moderation.gunicorn_worker.WebhookWorker"
bind = "127.0.0.1:8001"
workers = 2
threads = 16
control_socket_disable = True
# As in gunicorn.conf.py.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
