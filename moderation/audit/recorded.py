"""Rows whose every change is an entry of the log, whichever page or command makes it."""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from django.db import models, transaction
from django.db.models.signals import pre_delete

from moderation.audit.events import EVENTS, RowChanged
from moderation.audit.models import Action
from moderation.audit.request_context import current_actor
from moderation.audit.services import nests_deeper, record

# Of lists and objects in one field's value; around it an entry has some of its own.
MAX_LEVELS = 20


class Recorded(models.Model):
    """Adding, changing and deleting a row is recorded in the same transaction, or does not happen.

    `update()` and `bulk_create()` go round this, as they go round `save()`: nothing here uses them on such rows.
    """

    # The action of a RowChanged event.
    recorded_as: ClassVar[Action]
    # Lookups whose values are recorded, before and after; the first names the row.
    audited_fields: ClassVar[tuple[str, ...]]
    # Fields of which only that they changed is recorded.
    secret_fields: ClassVar[tuple[str, ...]] = ()
    # The lookup of the application that the row belongs to.
    audited_application: ClassVar[str] = ""

    class Meta:
        abstract = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The signal, and not `delete()`: querysets and cascades delete, too.
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
        """What the database has of the row now; nobody changes it until the transaction ends."""
        # Rows that refer to it, such as an admin's log of what they did, may be added meanwhile.
        rows = type(self)._default_manager.filter(pk=self.pk).select_for_update(no_key=True)
        application = filter(None, [self.audited_application])
        return rows.values(*{*self.audited_fields, *self.secret_fields, *application}).first() or {}

    def record_change(self, did: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Record how two `stored_values()` differ; nothing if they do not."""
        changes: dict[str, Any] = {}
        for lookup in (*self.audited_fields, *self.secret_fields):
            old, new = recordable(before.get(lookup)), recordable(after.get(lookup))
            if old == new:
                continue
            if lookup in self.secret_fields:
                # Neither the text nor anything that can be guessed from; a row that is added without one removes none.
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
    """A field's value; as text where it nests too deeply to be recorded, or nobody could correct or delete the row."""
    return json.dumps(value, ensure_ascii=False) if nests_deeper(value, MAX_LEVELS) else value


def record_deletion(*, instance: Recorded, **_signal: Any) -> None:
    """Sent within the transaction of the deletion, while the row is still there."""
    instance.record_change("deleted", instance.stored_values(), {})
