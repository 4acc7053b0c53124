"""Base class of models whose every change is recorded, whichever page or command makes it."""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from django.db import models, transaction
from django.db.models.signals import pre_delete

from moderation.audit.events import EVENTS, RowChanged
from moderation.audit.models import Action
from moderation.audit.request_context import current_actor
from moderation.audit.services import nests_deeper, record

# Levels of lists and objects in one field's value: fewer than an entry may have, as the value is nested in one.
MAX_LEVELS = 20


class Recorded(models.Model):
    """A row whose creation, changes and deletion are recorded in the same transaction, or do not happen.

    `update()` and `bulk_create()` bypass this, as they bypass `save()`: the console does not use them on such models.
    """

    # The action of a RowChanged event.
    recorded_as: ClassVar[Action]
    # Lookups whose values are recorded, before and after; the first names the row.
    audited_fields: ClassVar[tuple[str, ...]]
    # Fields whose values are not recorded, only that they changed.
    secret_fields: ClassVar[tuple[str, ...]] = ()
    # The lookup of the application that the row belongs to.
    audited_application: ClassVar[str] = ""

    class Meta:
        abstract = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A signal instead of `delete()`, as querysets and cascades delete, too.
        pre_delete.connect(record_deletion, sender=cls)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self.is_audited(kwargs.get("update_fields")):
            super().save(*args, **kwargs)
            return
        with transaction.atomic():
            before = {} if self._state.adding else self.stored_values()
            super().save(*args, **kwargs)
            self.record_change("changed" if before else "added", before, self.stored_values())

    def is_audited(self, update_fields: Iterable[str] | None) -> bool:
        """Whether saving these fields (None: all) can change what is recorded."""
        names = {lookup.partition("__")[0] for lookup in (*self.audited_fields, *self.secret_fields)}
        return update_fields is None or not names.isdisjoint(update_fields)

    def stored_values(self) -> dict[str, Any]:
        """Recorded fields as stored in the database. Locks the row until the end of the transaction."""
        # `no_key`: rows that refer to this one, such as Django admin's log entries, may be added meanwhile.
        rows = type(self)._default_manager.filter(pk=self.pk).select_for_update(no_key=True)
        application = filter(None, [self.audited_application])
        return rows.values(*{*self.audited_fields, *self.secret_fields, *application}).first() or {}

    def record_change(self, did: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Record the differences between two `stored_values()`, if there are any."""
        changes: dict[str, Any] = {}
        for lookup in (*self.audited_fields, *self.secret_fields):
            old, new = recordable(before.get(lookup)), recordable(after.get(lookup))
            if old == new:
                continue
            if lookup in self.secret_fields:
                # Nothing of the value, not even its hash. A row added or deleted without a secret changes none.
                if old or new:
                    changes[lookup] = "changed" if old and new else "set" if new else "removed"
            else:
                changes[lookup.partition("__")[0]] = {"from": old, "to": new}
        if changes:
            row = after or before
            event = cast(type[RowChanged], EVENTS[self.recorded_as])
            record(
                event(
                    actor=current_actor(),
                    app=row[self.audited_application] if self.audited_application else "",
                    did=did,
                    id=self.pk,
                    name=row[self.audited_fields[0]],
                    changes=changes,
                )
            )


def recordable(value: Any) -> Any:
    """A field's value; JSON text if it is nested too deeply, so that such a row can still be corrected or deleted."""
    return json.dumps(value, ensure_ascii=False) if nests_deeper(value, MAX_LEVELS) else value


def record_deletion(*, instance: Recorded, **_signal: Any) -> None:
    """Record a deletion. The signal is sent within its transaction, while the row still exists."""
    instance.record_change("deleted", instance.stored_values(), {})
