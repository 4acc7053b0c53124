"""What the archive tells those above it, inside the transaction in which it does it.

Receivers take `sender=None`; what one raises ends the transaction.
"""

from django.dispatch import Signal

# `messages`: rows that are new.
added = Signal()
# `messages`: rows whose text has become another one.
changed = Signal()
# `pks`: keys of rows that are about to lose their text or to be deleted, so many at once as fit into a statement.
forgotten = Signal()
# `conversation`: the key of one, of which all that was seen before `seen_before` is to be deleted.
pruned = Signal()
