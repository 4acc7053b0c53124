"""The chain: every committed entry gets exactly one seal, with concurrent writers and sealers, on both engines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from moderation.audit import verifier
from moderation.audit.ledger import chain, export
from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry, AuditSeal
from moderation.audit.services import record_all

from .entries import entry, record


def write(count: int = 1, **fields: Any) -> list[AuditEntry]:
    return record_all([entry(actor="mo", action=Action.ANSWERED, **fields) for _ in range(count)])


def the_chain_is_whole() -> int:
    """Assert that every entry is sealed and that the chain is intact. Returns the number of entries."""
    verified = verifier.Chain()
    for row in export.rows(AuditEntry.objects.all()):
        assert verifier.load(export.as_json(row)) == row
        verified.add(row)
    assert verified.seq == AuditEntry.objects.count() == AuditSeal.objects.count()
    return verified.seq


def together(*works: Callable[[], object]) -> None:
    """Run each function in a thread of its own, and raise the first error."""
    problems: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


@pytest.mark.django_db
def test_seals_count_from_one_and_name_the_one_before() -> None:
    write(3)
    assert Sealer().seal() == 3
    seals = list(AuditSeal.objects.order_by("seq"))
    assert [seal.seq for seal in seals] == [1, 2, 3]
    assert [seal.prev_hash for seal in seals] == ["0" * 64, seals[0].hash, seals[1].hash]
    assert the_chain_is_whole() == 3


@pytest.mark.django_db
def test_a_sealed_entry_is_not_sealed_again() -> None:
    sealer = Sealer()
    write(2)
    assert [sealer.seal(), sealer.seal(), Sealer().seal()] == [2, 0, 0]
    write(1)
    assert sealer.seal() == 1
    assert the_chain_is_whole() == 3


@pytest.mark.django_db
def test_one_run_seals_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    write(8)
    assert Sealer().seal() == 8
    assert the_chain_is_whole() == 8


@pytest.mark.django_db
def test_sealing_ends_however_many_write_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    write(2)
    insert = chain.write

    def write_beside(seals: Any) -> None:
        assert AuditSeal.objects.count() < 10
        insert(seals)
        write()

    monkeypatch.setattr(chain, "write", write_beside)
    sealer = Sealer()
    assert [sealer.seal() for _ in range(3)] == [2, 1, 1]
    assert AuditSeal.objects.count() == 4


@pytest.mark.django_db
@pytest.mark.parametrize(
    "detail",
    [
        {"€": 1, "𐐷": 2, "\ufb33": 3, "a": {"z": [], "b": {}}},
        {"float": [0.1, 1e21, 1e-7, 5.0, -0.0, 123456789012345680000.0, 1.5e300]},
        {"whole": [2**53 - 1, -(2**53) + 1, 2**53, -(2**80)]},
        {"text": 'quote " backslash \\ tab \t line \n separator \u2028 del \x7f'},
        {"": None, "yes": True, "no": False},
        json.loads('{"deep": ' + '[{"": ' * 49 + "0.5" + "}]" * 49 + "}"),
    ],
    ids=["order of keys", "floats", "great numbers", "text", "constants", "depth"],
)
def test_any_content_is_hashed_as_it_is_read_back(detail: dict[str, Any]) -> None:
    write(1, detail=detail, request=detail, response_code=2**60, latency_ms=2**62)
    Sealer().seal()
    assert the_chain_is_whole() == 1


@pytest.mark.django_db
def test_half_a_surrogate_pair_is_sealed_where_the_database_keeps_it() -> None:
    if connection.vendor == "postgresql":
        with pytest.raises(DatabaseError), transaction.atomic():
            write(1, detail={"half": "\ud800"})
    else:
        write(1, detail={"half": "\ud800"})
    Sealer().seal()
    the_chain_is_whole()


@pytest.mark.django_db
def test_the_database_refuses_a_fork_and_a_second_seal_of_an_entry() -> None:
    write(3)
    Sealer().seal()
    first, last = AuditSeal.objects.get(seq=1), AuditSeal.objects.get(seq=3)
    (another,) = write()
    for seal in (
        AuditSeal(seq=4, entry=another, prev_hash=last.prev_hash, hash="a" * 64),
        AuditSeal(seq=3, entry=another, prev_hash=last.hash, hash="a" * 64),
        AuditSeal(seq=4, entry_id=first.entry_id, prev_hash=last.hash, hash="a" * 64),
        AuditSeal(seq=0, entry=another, prev_hash=last.hash, hash="a" * 64),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            seal.save()
    assert Sealer().seal() == 1
    assert the_chain_is_whole() == 4


@pytest.mark.django_db
def test_a_run_reads_new_entries_only(django_assert_num_queries: Any) -> None:
    sealer = Sealer()
    write(5)
    sealer.seal()
    if connection.vendor == "sqlite":
        assert sealer._settled == AuditEntry.objects.latest("pk").pk
        with django_assert_num_queries(2):
            sealer.seal()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps no writer out")
def test_writers_are_locked_out_while_new_entries_are_sealed_and_no_longer() -> None:
    write(5)
    Sealer().seal()
    (new,) = write()
    with CaptureQueriesContext(connection) as captured:
        assert Sealer().seal() == 1
    statements = [query["sql"] for query in captured.captured_queries]
    inside = statements[next(place for place, sql in enumerate(statements) if sql.startswith("BEGIN")) :]
    (page,) = [sql for sql in inside if 'FROM "audit_auditentry"' in sql]
    assert f'"audit_auditentry"."id" > {new.pk - 1})' in page


@pytest.fixture
def sealing(transactional_db: None) -> Iterator[Callable[[], None]]:
    """A function that starts a thread which seals repeatedly, like a worker, until the test ends. It must not fail."""
    end = threading.Event()
    threads: list[threading.Thread] = []
    problems: list[BaseException] = []

    def run() -> None:
        sealer = Sealer()
        try:
            while not end.wait(0.05):
                sealer.seal()
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    def start() -> None:
        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    end.set()
    for thread in threads:
        thread.join()
    assert not problems


@pytest.mark.django_db(transaction=True)
def test_many_writers_and_several_sealers_make_one_chain(sealing: Callable[[], None]) -> None:
    sealing()
    sealing()

    def work() -> None:
        for number in range(25):
            with transaction.atomic():
                record(actor="mo", action=Action.SENDING, detail={"number": number})
                if number % 5 == 0:
                    transaction.set_rollback(True)

    together(*[work] * 8)
    # Wait for the running sealers: a new one would also seal what they had missed.
    deadline = time.monotonic() + 30
    while AuditSeal.objects.count() < 8 * 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert the_chain_is_whole() == 8 * 20


class Writer(threading.Thread):
    """A thread that keeps a transaction with one entry open until `end()` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.commit = threading.Event(), threading.Event()
        self.start()
        assert self.written.wait(10)

    def run(self) -> None:
        with transaction.atomic():
            write()
            self.written.set()
            self.commit.wait(10)
        connection.close()

    def end(self) -> None:
        self.commit.set()
        self.join()


def once_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[[], object]) -> None:
    """Call `act` after the first call of `owner`'s function `name`."""
    called, function = [], getattr(owner, name)

    def wrapped(*arguments: Any) -> Any:
        returned = function(*arguments)
        if not called:
            called.append(True)
            act()
        return returned

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.django_db(transaction=True)
def test_an_entry_committed_after_the_last_page_is_sealed_in_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    once_after(monkeypatch, Sealer, "_seal_some", write)
    sealer = Sealer()
    assert [sealer.seal() for _ in range(3)] == [1, 1, 0]
    assert the_chain_is_whole() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("owner", "name"), [(Sealer, "_seal_some"), (chain, "writers")])
def test_an_entry_committed_during_a_run_is_sealed_in_the_next(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: ids are committed in their order")
    sealer, open_one = Sealer(), Writer()
    write()
    once_after(monkeypatch, owner, name, open_one.end)
    # `writers` is called before the entries are read, so both are sealed.
    assert [sealer.seal(), sealer.seal()] == ([1, 1] if name == "_seal_some" else [2, 0])
    assert the_chain_is_whole() == 2


@pytest.mark.django_db(transaction=True)
def test_a_transaction_begun_after_the_query_for_writers_is_sealed_once_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: ids are committed in their order")
    begun: list[Writer] = []

    def begin() -> None:
        begun.append(Writer())
        write()

    once_after(monkeypatch, chain, "writers", begin)
    sealer = Sealer()
    assert [sealer.seal(), sealer.seal()] == [1, 0]
    begun[0].end()
    assert sealer.seal() == 1
    assert the_chain_is_whole() == 2


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_is_committed_after_later_ones_is_sealed_in_the_order_of_sealing() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: ids are committed in their order")
    sealer, written, commit = Sealer(), threading.Event(), threading.Event()
    late: list[int] = []

    def slowly() -> None:
        with transaction.atomic():
            late.append(write()[0].pk)
            written.set()
            commit.wait(10)

    def meanwhile() -> None:
        try:
            assert written.wait(10)
            # A sealer that only reads beyond the last id would never seal the open one.
            for _ in range(5):
                (sooner,) = write()
                assert sealer.seal() == 1
                assert sooner.pk > late[0]
            assert sealer._settled < late[0]
        finally:
            commit.set()

    together(slowly, meanwhile)
    assert sealer.seal() == 1
    assert AuditSeal.objects.get(entry_id=late[0]).seq == 6
    sealer.seal()
    assert sealer._settled > late[0]
    assert the_chain_is_whole() == 6


@pytest.mark.django_db(transaction=True)
def test_continuous_writers_do_not_hold_the_sealer_back() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite nothing is ever open when the sealer looks")
    sealer, first, second = Sealer(), Writer(), Writer()
    write()
    assert sealer.seal() == 1
    first.end()
    third = Writer()
    assert sealer.seal() == 1
    assert sealer._settled == 0
    second.end()
    # There was always an open transaction, but those of the first run have ended.
    assert sealer.seal() == 1
    assert sealer._settled == AuditSeal.objects.get(seq=1).entry_id
    third.end()
    assert sealer.seal() == 1
    assert the_chain_is_whole() == 4


@pytest.mark.django_db
def test_sealing_does_not_wait_for_writers_and_seals_committed_entries_only() -> None:
    assert chain.head() == (0, "0" * 64)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        write()
        raise ZeroDivisionError
    assert Sealer().seal() == 0
