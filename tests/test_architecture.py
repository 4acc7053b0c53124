"""The house's rules that a program can check. Which app may import which, `lint-imports` checks (`make lint`)."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

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


def layers() -> set[str]:
    """The modules that stand in a layer (pyproject.toml, which `lint-imports` enforces)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "layers"]
    return {name.strip(" ()") for layer in contract["layers"] for name in re.split("[|:]", layer)}


def test_every_app_and_module_stands_in_a_layer() -> None:
    """What stands in none could import anything, and carry an import from one layer up to another."""
    there = {f"moderation.{path.stem}" for path in (ROOT / "moderation").glob("*.py")} - {"moderation.__init__"}
    there |= {f"moderation.{path.parent.name}" for path in (ROOT / "moderation").glob("*/__init__.py")} | {"recall"}
    assert there - layers() == set(), "name it in pyproject.toml, where it belongs among the layers"


def test_goeasy_knows_no_model() -> None:
    assert violations("moderation/goeasy/", ("django.db",)) == []


def test_only_the_client_speaks_to_goeasy() -> None:
    assert violations("", ("requests", "urllib3", "http.client"), but=WIRE) == []


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils.py", "helpers.py", "selectors.py", "common.py"}
    assert [path for path in SOURCES if path.name in odd or "common" in path.parts] == []


def test_nothing_is_inline_in_templates() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in inline.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
