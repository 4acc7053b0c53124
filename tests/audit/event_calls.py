"""Which fields the project's code passes to each event class, read from the source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def passed_fields(classes: set[str]) -> dict[str, set[str]]:
    """Fields by class name. Of `**spread`, the keys of the function called, or of all that its file mentions."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for app in ("moderation", "recall") for path in sources(app)]
    functions: dict[str, set[str]] = defaultdict(set)
    arguments: dict[str, set[str]] = defaultdict(set)
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef):
            functions[node.name].update(keys(node))
        elif isinstance(node, ast.Call):
            arguments[called(node)].update(keyword.arg for keyword in node.keywords if keyword.arg)
    passed: dict[str, set[str]] = defaultdict(set)
    for tree in trees:
        variables = dict(assigned_classes(tree, classes))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        mentioned = set(keys(tree)).union(*(functions[called(call)] for call in calls))
        mentioned = mentioned.union(*(arguments[called(call)] for call in calls))
        # A function that takes `**fields` and spreads them.
        takers = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.args.kwarg)
        mentioned = mentioned.union(*(arguments[each.name] for each in takers))
        for call in calls:
            name = getattr(call.func, "id", "")
            for event in [name] if name in classes else variables.get(name, ()):
                for keyword in call.keywords:
                    spread = with_spread(keyword.value, functions) or mentioned
                    passed[event].update([keyword.arg] if keyword.arg else spread)
    return passed


def with_spread(node: ast.expr, functions: dict[str, set[str]]) -> set[str]:
    """Keys of the function that an expression calls, and of those whose result that function spreads (`"**name"`)."""
    found = set(functions[called(node)])
    return found.union(*(functions[key.removeprefix("**")] for key in found if key.startswith("**")))


def sources(app: str) -> Iterator[Path]:
    return (ROOT / app).glob("**/*.py")


def called(node: ast.expr) -> str:
    """The name of the function or method that an expression calls; empty for anything else."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def keys(tree: ast.AST) -> Iterator[str]:
    """The keys of all dicts below `tree`, those set by subscript included; "**name" for the result of a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value
                elif key is None:
                    yield f"**{called(value)}"
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                yield node.slice.value
        elif isinstance(node, ast.Call) and called(node) == "dict":
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def assigned_classes(tree: ast.AST, classes: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Variables with the event classes that they may hold, as after `event = Held if held else Released`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            held = {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)} & classes
            # `event = Held(…)` is an event, no class.
            if held and called(node.value) not in classes:
                yield node.targets[0].id, held
