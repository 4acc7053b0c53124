"""PostgreSQL's two accounts, set up with the statements of docs/security.md: the console's can only append."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connection, transaction

from moderation.audit.ledger.chain import Sealer
from moderation.audit.models import Action, AuditEntry, AuditPrivate

from .entries import record

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
REFUSED = [
    *(
        statement.format(table)
        for table in ("audit_auditentry", "audit_auditseal", "audit_auditcheckpoint")
        for statement in (
            "DELETE FROM {}",
            "TRUNCATE {} CASCADE",
            "ALTER TABLE {} DISABLE TRIGGER ALL",
            "ALTER TABLE {} RENAME TO gone",
            "DROP TRIGGER audit_entries_are_never_updated_or_deleted ON {}",
            "DROP TABLE {} CASCADE",
            "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION audit_entries_never_change()",
        )
    ),
    "UPDATE audit_auditentry SET actor = 'x'",
    "UPDATE audit_auditseal SET hash = 'x'",
    "UPDATE audit_auditcheckpoint SET root = 'x'",
    "DROP FUNCTION audit_entries_never_change() CASCADE",
    "ALTER FUNCTION audit_entries_never_change() RENAME TO gone",
    "CREATE TABLE mine (id int)",
    "SET session_replication_role = replica",
    "DELETE FROM django_migrations",
]


def documented() -> list[str]:
    """SQL statements of the section on two accounts."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("### PostgreSQL: two accounts")[2]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no accounts")
def test_the_consoles_account_can_only_append_to_the_log_and_read_it() -> None:
    name = f"console_{uuid4().hex[:8]}"
    statements = documented()
    assert sum(statement.startswith("CREATE DATABASE") for statement in statements) == 1
    with connection.cursor() as cursor:
        # The test's transaction is rolled back, and with it the accounts.
        for statement in statements:
            if not statement.startswith("CREATE DATABASE"):
                cursor.execute(statement.replace("console_", f"{name}_"))
        cursor.execute(f"SET LOCAL ROLE {name}_app")
        written = record(actor="mo", action=Action.ANSWERED)
        assert Sealer().seal() == 1
        assert list(AuditEntry.objects.values_list("pk", flat=True)) == [written.pk]
        for statement in REFUSED:
            with pytest.raises(ProgrammingError, match="permission denied|must be owner"), transaction.atomic():
                cursor.execute(statement)
        # It may erase private parts, but only like the console does.
        noted = record(actor="mo", action=Action.REQUESTED, private={"note": "x"})
        Sealer().seal()
        statement = "UPDATE audit_auditprivate SET salt = '', content = '', erasure_id = %s"
        with pytest.raises(ProgrammingError, match="never change"), transaction.atomic():
            cursor.execute(statement, [written.pk])
        erasure = record(actor="ada", action=Action.TEXT_ERASED, detail={"entries": [noted.seal.seq]})
        assert AuditPrivate.objects.filter(entry=noted).erase(erasure) == 1
        cursor.execute("RESET ROLE")
    assert AuditEntry.objects.earliest("pk").actor == "mo"
