"""Architecture rules that a program can check. `lint-imports` checks which app may import which (`make lint`)."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path for top in ("moderation", "recall") for path in (ROOT / top).rglob("*.py") if "migrations" not in path.parts
]
# The demo starts everything, so it may import anything.
EXEMPT = {"moderation/demo.py"}
# Modules that may use HTTP: the client's transport, the sandbox's webhook, and the publication of checkpoints.
HTTP_MODULES = {
    "moderation/goeasy/wire.py",
    "moderation/goeasy/sandbox/webhook.py",
    "moderation/audit/ledger/checkpoints.py",
}


def imported_modules(path: Path) -> set[str]:
    """Modules that the file imports anywhere."""
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
        for name in imported_modules(path)
        if name.startswith(forbidden)
    ]


def layers() -> set[str]:
    """Modules in the layers of pyproject.toml, which `lint-imports` enforces."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "layers"]
    return {name.strip(" ()") for layer in contract["layers"] for name in re.split("[|:]", layer)}


def test_every_app_and_module_belongs_to_a_layer() -> None:
    """A module without a layer could import anything, and so connect a layer to a higher one."""
    there = {f"moderation.{path.stem}" for path in (ROOT / "moderation").glob("*.py")} - {"moderation.__init__"}
    there |= {f"moderation.{path.parent.name}" for path in (ROOT / "moderation").glob("*/__init__.py")} | {"recall"}
    assert there - layers() == set(), "name it in pyproject.toml, where it belongs among the layers"


def test_no_class_of_the_outbox_is_too_long() -> None:
    lengths = {
        f"{path.name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        if path.is_relative_to(ROOT / "moderation" / "outbox")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > 150} == {}


def test_the_outbox_has_no_circular_imports() -> None:
    folder = ROOT / "moderation" / "outbox"
    left = {
        f"moderation.outbox.{path.stem}": imported_modules(path)
        for path in folder.glob("*.py")
        if path.name != "__init__.py"
    }
    left = {name: {other for other in names if other in left} for name, names in left.items()}
    # Repeatedly remove the modules that import none of the remaining ones.
    while free := {name for name, names in left.items() if not names & left.keys()}:
        left = {name: names for name, names in left.items() if name not in free}
    assert left == {}


def test_goeasy_knows_no_model() -> None:
    assert violations("moderation/goeasy/", ("django.db",)) == []


def test_only_the_client_uses_http() -> None:
    assert violations("", ("requests", "urllib3", "http.client"), but=HTTP_MODULES) == []


def test_no_module_is_a_collection_of_helpers() -> None:
    forbidden_names = {"utils.py", "helpers.py", "selectors.py", "common.py"}
    assert [path for path in SOURCES if path.name in forbidden_names or "common" in path.parts] == []


def test_templates_have_no_inline_code() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:")
    inline_code = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in inline.finditer(path.read_text(encoding="utf-8"))
    ]
    assert inline_code == []
