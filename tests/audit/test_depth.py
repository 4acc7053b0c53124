"""Deeply nested values: refused for new entries, and readable in existing ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from moderation.applications.models import Application
from moderation.audit import verifier
from moderation.audit.ledger import export, format
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry
from moderation.audit.services import TooDeepToRecord, nests_deeper

from .entries import record

TABLE = AuditEntry._meta.db_table


def lists(depth: int) -> str:
    """JSON text of an object with nested lists, `depth` levels in total."""
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def objects(depth: int) -> str:
    """Like `lists()`, with objects in lists and with texts and numbers of many forms."""
    level = '[0.5, 1e400, "€\\u20ac\\ud83d\\ude00\\"]\\\\", {"b": 1, "b": '
    return '{"a":' + level * depth + "null" + "}]" * depth + "}"


def store(text: str) -> None:
    """Write an entry with this `request` and `detail`, like an old version that did not limit the depth."""
    columns = "at, actor, action, app, kind, user_a, user_b, group_id, request, detail"
    values = "CURRENT_TIMESTAMP, 'mo', 'application.changed', '', '', '', '', '', %s, %s"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {TABLE} ({columns}) VALUES ({values})", [text, text])  # noqa: S608 - no value


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Run `work` in a thread of its own, like the worker's. Returns its result or raises its error."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as problem:
            results.append(problem)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def further_down(levels: int, work: Callable[[], Any]) -> Any:
    """Call `work()` this many calls deeper in the stack."""
    return further_down(levels - 1, work) if levels else work()


def exported() -> list[dict[str, Any]]:
    """Export and verify the log. Returns the entries."""
    chain = verifier.Chain()
    entries = []
    for line in export.jsonl(export.rows(AuditEntry.objects.all())):
        entries.append(verifier.load(line))
        chain.add(entries[-1])
    return entries


# New values


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["detail", "request", "timestamps", "private"])
def test_a_value_nested_too_deeply_is_not_recorded(name: str) -> None:
    def nested(levels: int) -> Any:
        value: Any = [1, "2"]
        for level in range(levels - 2):
            value = {"deeper": value, "beside": []} if level % 2 else (value,)
        return [value] if name == "timestamps" else {"in": value}

    record(actor="mo", action=Action.SEARCHED, **{name: nested(50)})
    for levels in (101, 5_000, 100_000):
        with pytest.raises(TooDeepToRecord, match="deeper than 100"):
            record(actor="mo", action=Action.SEARCHED, **{name: nested(levels)})
    assert Sealer().seal() == 1
    assert len(exported()) == 1


def test_a_hundred_levels_are_allowed_and_one_more_is_not() -> None:
    innermost: list[Any] = [[], {}, ()]
    for value in innermost:
        for _level in range(format.MAX_DEPTH - 1):
            value = [value]
        assert not nests_deeper(value, format.MAX_DEPTH)
        assert nests_deeper([1, value], format.MAX_DEPTH)


@pytest.fixture
def ada(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


SECOND = {"name": "Second", "slug": "second", "rest_host_saved": "hangzhou", "recaller_id": ""}


def test_recaller_data_nests_no_deeper_than_a_recall_takes_it(
    ada: Client, lead: Any, moderator: Any, application: Any
) -> None:
    given = {"user": moderator.pk, "application": application.pk, "recaller_id": "support-1"}
    for address, form in (
        (reverse("admin:applications_application_add"), SECOND),
        (reverse("admin:accounts_pseudonym_add"), given),
    ):
        if "user" in form:
            ada.force_login(lead)
        for levels in (900, 21):
            shown = ada.post(address, {**form, "recaller_data": lists(levels)})
            (error,) = shown.context["adminform"].form.errors["recaller_data"]
        assert "nothing nested deeper than 20" in error
        assert ada.post(address, {**form, "recaller_data": lists(20)}).status_code == 302
    assert Sealer().seal() == 2


@pytest.mark.parametrize("levels", [90, 99, 101, 500])
def test_a_row_saved_too_deep_by_an_older_version_can_be_corrected_and_deleted(ada: Client, levels: int) -> None:
    old = json.loads(lists(levels))
    corrected, deleted = Application.objects.bulk_create(
        Application(slug=slug, name="Second", recaller_data=old) for slug in ("second", "third")
    )
    address = reverse("admin:applications_application_change", args=[corrected.pk])
    assert ada.get(address).status_code == 200
    assert ada.post(address, {**SECOND, "recaller_data": '{"name": "Support"}'}).status_code == 302
    changes = AuditEntry.objects.get().detail["changes"]
    assert changes["recaller_data"] == {"from": json.dumps(old), "to": {"name": "Support"}}
    deleted.delete()
    assert Sealer().seal() == 2


# Stored values


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("depth", [99, 100, 101, 102, 800, 900, 950, 980, 990, 1000, 5000])
def test_an_entry_that_is_in_the_log_is_sealed_and_exported_however_deep_it_is(depth: int) -> None:
    try:
        with transaction.atomic():
            store(lists(depth))
    except DatabaseError:
        # SQLite does not accept deeper JSON.
        assert connection.vendor == "sqlite"
        assert depth > 1000
        return
    record(actor="mo", action=Action.SEARCHED)
    assert in_a_thread(lambda: Sealer().seal()) == 2
    (deep, _after) = in_a_thread(exported)
    value, levels = deep["detail"]["a"], 1
    while isinstance(value, list) and value:
        (value,), levels = value, levels + 1
    if depth > format.MAX_DEPTH:
        assert (levels, value) == (format.MAX_DEPTH, "[" * (depth - 100) + "]" * (depth - 100))
    else:
        assert (levels, value) == (depth - 1, [])


@pytest.mark.django_db(transaction=True)
def test_the_hash_does_not_depend_on_how_deep_the_calls_are_that_lead_to_it() -> None:
    store(lists(700))
    Sealer().seal()
    assert len(in_a_thread(lambda: further_down(500, exported))) == 1


def test_hashes_are_the_same_as_in_older_versions() -> None:
    # Values are converted as in older versions, which parsed them with `json`.
    assert format.read_values([lists(102), None]) == [format.as_portable(json.loads(lists(102))), None]
    text = objects(60)
    assert format.as_portable(format.read_deep(text)) == format.as_portable(json.loads(text))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(json_values, st.integers(90, 110), st.booleans(), st.sampled_from([None, (",", ":"), (" , ", " :\n")]))
def test_the_token_reader_agrees_with_json(
    value: Any, depth: int, is_ascii: bool, separators: tuple[str, str] | None
) -> None:
    for level in range(depth):
        value = [value, level] if level % 3 else {"": level, "in": value}
    text = json.dumps(value, ensure_ascii=is_ascii, separators=separators)
    wanted = format.as_portable(json.loads(text))
    # Compared as text, as NaN is not equal to itself.
    assert repr(format.as_portable(format.read_deep(text))) == repr(wanted)
