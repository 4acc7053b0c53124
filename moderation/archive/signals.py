"""Signals of changes to the archive, sent inside the transaction that makes them.

Receivers get `sender=None`; an exception in one rolls the transaction back.
"""

from django.dispatch import Signal

# `messages`: new rows.
added = Signal()
# `messages`: rows whose text has changed.
changed = Signal()
# `pks`: keys of rows that are about to lose their text or to be deleted, as many as fit into one statement.
forgotten = Signal()
# `conversation`: a key; everything received in it before `seen_before` is to be deleted.
pruned = Signal()
