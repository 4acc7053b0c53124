"""The long form of the audit log's tests: 10,000 forgeries, and 1,000 honest logs of eight writers each.

Every forgery has to be found against a checkpoint kept elsewhere, and no honest log may raise an alarm. Run it with
DATABASE_URL of either engine (default: a new SQLite file); it empties the log again and again, so it takes only a
database whose log is empty.
"""

from __future__ import annotations

import collections
import os
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WRITERS, ENTRIES_EACH = 8, 4


def forge(count: int, folder: Path) -> None:
    """Verify `count` forged exports. Raises AssertionError when a forgery is not detected."""
    from moderation.audit import verifier
    from moderation.audit.ledger import checkpoints
    from tests.audit.logs import checkpoint
    from tests.audit.mutations import campaign

    (folder / "key").write_text(checkpoints.verifier_key("x").rpartition("+")[2])
    notes: dict[int, str] = {}
    detected: collections.Counter[str] = collections.Counter()
    for name, path, honest, held in campaign(seed=time.time_ns(), count=count, folder=folder):
        note = notes.setdefault(held, checkpoint(honest[:held]))
        (folder / "note").write_text(note, encoding="utf-8")
        given = {"export": str(path), "checkpoint": [str(folder / "note")], "public_key": str(folder / "key")}
        try:
            verifier.verify(Namespace(**given, proof=None, partial=False))
        except (verifier.BrokenError, ValueError, RecursionError):
            detected[name] += 1
        else:
            raise AssertionError(f"not found: {name}: {path.read_bytes()!r}")
    print(f"  {detected.total():,} forgeries, all found: {dict(detected)}")


def one_log(seed: int) -> int:
    """Write a log with WRITERS threads while two sealers run; return its size. Raises the first error of a thread."""
    from django.db import connection, transaction

    from moderation.audit.ledger.chain import Sealer
    from moderation.audit.services import record_all
    from tests.audit.entries import entry

    problems: list[BaseException] = []
    end = threading.Event()

    def write(writer: int) -> None:
        for number in range(ENTRIES_EACH):
            with transaction.atomic():
                detail = {"writer": writer, "€": [number, 0.1, "垃圾 🎉"]}
                record_all([entry(actor=f"mo-{writer}", action="recall.answered", detail=detail)])  # type: ignore[arg-type]
                if (seed + writer + number) % 7 == 0:
                    transaction.set_rollback(True)

    def seal(_: int) -> None:
        sealer = Sealer()
        while not end.wait(0.005):
            sealer.seal()
        # A new sealer would find entries that this one has passed over.
        sealer.seal()

    def guarded(work: object, number: int) -> None:
        try:
            work(number)  # type: ignore[operator]
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    writers = [threading.Thread(target=guarded, args=(write, number)) for number in range(WRITERS)]
    sealers = [threading.Thread(target=guarded, args=(seal, number)) for number in range(2)]
    for thread in [*sealers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    end.set()
    for thread in sealers:
        thread.join()
    if problems:
        raise problems[0]
    return sum((seed + writer + number) % 7 != 0 for writer in range(WRITERS) for number in range(ENTRIES_EACH))


def write_logs(count: int, folder: Path) -> None:
    """Verify `count` honest logs, each as an export against its own checkpoint. Raises when one is rejected."""
    from django.db import connection

    from moderation.audit import verifier
    from moderation.audit.ledger import checkpoints, export, triggers
    from moderation.audit.models import AuditEntry

    assert not AuditEntry.objects.exists(), "this empties the log: give it a database whose log is empty"
    (folder / "key").write_text(checkpoints.verifier_key("x").rpartition("+")[2])
    total, started = 0, time.perf_counter()
    for seed in range(count):
        written = one_log(seed)
        (folder / "export").write_text("".join(export.jsonl(export.rows(AuditEntry.objects.all()))), encoding="utf-8")
        (folder / "note").write_text(checkpoints.take().note, encoding="utf-8")
        given = {"export": str(folder / "export"), "checkpoint": [str(folder / "note")]}
        result = verifier.verify(Namespace(**given, public_key=str(folder / "key"), proof=None, partial=False))
        assert result.startswith(f"all of seq {written},"), (seed, written, result)
        total += written
        with connection.schema_editor() as editor:
            triggers.remove(None, editor)
            for table in reversed(triggers.TABLES):
                editor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own constant
            triggers.install(None, editor)
    seconds = time.perf_counter() - started
    print(f"  {count:,} honest logs of {WRITERS} writers, {total:,} entries, no alarm ({seconds:.0f} s)")


def main() -> None:
    """Run both parts and print the figures."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--forgeries", type=int, default=10_000)
    parser.add_argument("--logs", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/soak.sqlite3")
        os.environ |= {"SECRET_KEY": "soak-" * 12, "DEBUG": "false", "AUDIT_CHECKPOINT_FILE": ""}
        os.environ |= {
            "AUDIT_SIGNING_KEY": "c29hay10ZXN0cy1vbmx5LXNvYWstdGVzdHMtb25seSE=",
            "DJANGO_SETTINGS_MODULE": "moderation.settings",
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        print(connection.vendor)
        write_logs(options.logs, folder)
        forge(options.forgeries, folder)


if __name__ == "__main__":
    main()
