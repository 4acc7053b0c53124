"""Only a person requests a recall (docs/architecture.md, invariant 13)."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction

from recall.models import Recall

ROOT = Path(__file__).resolve().parents[2]
DECIDE = {"request_recall", "request_sweep", "create_recalls"}
# The command in which an account is named, and the services that views call.
BESIDE_VIEWS = {
    "recall/management/commands/recall.py": {"request_recall"},
    "recall/services.py": {"create_recalls"},
    "recall/sweeps.py": {"create_recalls"},
}


def calls(path: Path) -> set[str]:
    """Functions of DECIDE that the module calls."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            names.add(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
    return names & DECIDE


def test_only_a_form_or_a_command_of_a_person_asks_for_a_recall() -> None:
    modules = [path for top in ("moderation", "recall") for path in (ROOT / top).rglob("*.py")]
    callers = {path.relative_to(ROOT).as_posix(): names for path in modules if (names := calls(path))}
    # A view answers a form that somebody posted: `tests/test_access.py` says who may.
    views = {module: callers.pop(module) for module in list(callers) if module.startswith("recall/views/")}
    assert set.union(*views.values()) == {"request_recall", "request_sweep"}
    assert callers == BESIDE_VIEWS


def test_the_database_refuses_a_recall_of_nobody(make_recall: Callable[..., Recall]) -> None:
    recall = make_recall([1594958217087])
    with pytest.raises(IntegrityError), transaction.atomic():
        Recall.objects.filter(pk=recall.pk).update(actor=None)
