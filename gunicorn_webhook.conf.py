"""The process that serves webhooks alone: `gunicorn --config gunicorn_webhook.conf.py`. Options there win over these.

GoEasy waits three seconds for an answer, and after three failures sends nothing more: neither pages nor who sends
slowly may take the threads, or the processor, that answer it.
"""

import os

wsgi_app = "moderation.webhook_wsgi"
worker_class = "moderation.gunicorn_worker.WebhookWorker"
bind = "127.0.0.1:8001"
workers = 1
threads = 16
control_socket_disable = True
# As in gunicorn.conf.py.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
