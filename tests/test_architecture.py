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


BELOW_RECALL = ("recall", "moderation.desk", "moderation.privacy", "moderation.operations")


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        (
            "moderation/goeasy/",
            ("moderation.archive", "moderation.audit", "moderation.accounts", "django.db", *BELOW_RECALL),
        ),
        ("moderation/audit/", ("moderation.archive", "moderation.goeasy", "moderation.accounts", *BELOW_RECALL)),
        ("moderation/applications/", ("moderation.archive", "moderation.accounts", *BELOW_RECALL)),
        ("moderation/accounts/", ("moderation.archive", *BELOW_RECALL)),
        ("moderation/archive/", ("moderation.accounts", *BELOW_RECALL)),
        ("moderation/search/", ("moderation.accounts", "moderation.ingestion", *BELOW_RECALL)),
        ("moderation/ingestion/", ("moderation.accounts", "moderation.search", *BELOW_RECALL[1:])),
    ],
)
def test_imports_run_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    assert violations(folder, forbidden) == []


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
