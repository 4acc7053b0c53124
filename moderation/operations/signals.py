"""What `manage.py restore` lets other apps do, in the restore's own transaction."""

from django.dispatch import Signal

# The database is that of a backup, brought up to date, and no worker runs yet. A receiver puts right what the backup
# says of the world outside and is not known any more, and returns what it found, by names of `restore.restore()`.
restored = Signal()
