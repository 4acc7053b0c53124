"""Signal of `manage.py restore`, sent within its transaction."""

from django.dispatch import Signal

# Sent when the restored database is migrated and no worker runs yet. A receiver corrects rows that may no longer match
# what happened after the backup, and returns counts by their name in the report of `restore.restore()`.
restored = Signal()
