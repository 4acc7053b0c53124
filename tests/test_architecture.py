"""The house's rules that a program can check (architecture: imports run one way)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path for top in ("moderation", "recall") for path in (ROOT / top).rglob("*.py") if "migrations" not in path.parts
]
# The demo starts everything, so it may name anything.
EXEMPT = {"moderation/demo.py"}
# What speaks to GoEasy; the sandbox's webhook, which plays GoEasy's part; and what posts checkpoints of the audit log.
WIRE = {"moderation/goeasy/wire.py", "moderation/goeasy/sandbox/webhook.py", "moderation/audit/checkpoints.py"}


def imported(path: Path) -> set[str]:
    """Every module that the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def violations(folder: str, forbidden: tuple[str, ...], *, but: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    return [
        f"{relative} imports {name}"
        for path in SOURCES
        if (relative := path.relative_to(ROOT).as_posix()).startswith(folder) and relative not in EXEMPT | but
        for name in imported(path)
        if name.startswith(forbidden)
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("moderation/", ("recall",)),
        (
            "moderation/goeasy/",
            ("moderation.archive", "moderation.audit", "moderation.accounts", "django.db"),
        ),
        ("moderation/audit/", ("moderation.archive", "moderation.goeasy", "moderation.accounts")),
        ("moderation/outbox/", ("moderation.accounts", "moderation.operations")),
        ("moderation/archive/", ("moderation.accounts",)),
    ],
)
def test_imports_run_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    assert violations(folder, forbidden) == []


def test_of_archive_the_outbox_knows_applications_alone() -> None:
    names = {
        name
        for path in SOURCES
        if path.is_relative_to(ROOT / "moderation" / "outbox")
        for name in imported(path)
        if name.startswith("moderation.archive")
    }
    assert names <= {"moderation.archive.models", "moderation.archive.models.Application"}


def test_no_class_of_the_outbox_is_longer_than_a_person_keeps_in_mind() -> None:
    lengths = {
        f"{path.name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        if path.is_relative_to(ROOT / "moderation" / "outbox")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > 150} == {}


def test_nothing_of_the_outbox_imports_in_a_circle() -> None:
    folder = ROOT / "moderation" / "outbox"
    left = {
        f"moderation.outbox.{path.stem}": imported(path) for path in folder.glob("*.py") if path.name != "__init__.py"
    }
    left = {name: {other for other in names if other in left} for name, names in left.items()}
    # Again and again those that import nothing that is left.
    while free := {name for name, names in left.items() if not names & left.keys()}:
        left = {name: names for name, names in left.items() if name not in free}
    assert left == {}


def test_only_the_client_speaks_to_goeasy() -> None:
    assert violations("", ("requests", "urllib3", "http.client"), but=WIRE) == []


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils.py", "helpers.py", "selectors.py", "common.py"}
    assert [path for path in SOURCES if path.name in odd or "common" in path.parts] == []


def test_nothing_is_inline_in_templates() -> None:
    import re

    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in inline.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
