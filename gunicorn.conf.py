"""What gunicorn reads from the folder that it is started in, beside its command line."""

import os

# The filters of a list are in its address, 50 pairs of ids among them: gunicorn's own limit is 4094, its highest 8190.
limit_request_line = 8190
# Where each process says that it lives: in memory, so that neither /tmp nor anything else need be writable for it.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
