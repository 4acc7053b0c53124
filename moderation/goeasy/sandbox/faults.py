"""Faults that the sandbox produces on request."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

# Options of each kind of fault.
KINDS: dict[str, set[str]] = {
    "latency": {"ms"},
    "status": {"status", "retry_after"},
    "refuse": {"code", "content", "status", "effect"},
    "drop_before": set(),
    "drop_after": set(),
    "html": {"status", "effect"},
    "half": set(),
    "redirect": {"to"},
}
REQUIRED = {"latency": "ms", "redirect": "to"}
# Minimum and maximum of numeric options.
RANGES = {
    "ms": (0, 10 * 60 * 1000),
    "status": (200, 599),
    "code": (200, 599),
    "retry_after": (0, 24 * 3600),
    "times": (0, 10**9),
    "after": (0, 10**9),
}
ENDPOINTS = {"recall", "history", "send", "*"}


@dataclass
class Rule:
    """One fault: its endpoint, its kind, and the calls that it affects.

    "latency" {ms} · "status" {status, retry_after?} · "refuse" {code, content?, status?, effect?}: that answer, after
    the effect if `effect` is true · "drop_before": closes the connection without effect · "drop_after": closes it after
    the effect · "html" {status?, effect?}: an HTML page instead of JSON · "half": half an answer after the effect ·
    "redirect" {to}.
    It skips `after` calls and then affects `times` calls (None: all).
    """

    on: str
    kind: str
    options: dict[str, Any]
    times: int | None
    after: int


def parse_rules(data: Any) -> list[Rule]:
    """Parse {"rules": […]}. Raises ValueError with a message for an invalid rule.

    Strict, because a rule that failed only during a call would look like a dropped connection.
    """
    rules = data.get("rules") if isinstance(data, dict) else None
    if not isinstance(rules, list):
        raise ValueError('send {"rules": […]}')
    return [parse_rule(rule) for rule in rules]


def parse_rule(rule: Any) -> Rule:
    """Parse one rule. Raises ValueError with a message."""
    on, kind = (rule.get("on", "*"), rule.get("kind")) if isinstance(rule, dict) else (None, None)
    # Tuples, because a value from JSON may be unhashable.
    if on not in tuple(ENDPOINTS) or kind not in tuple(KINDS):
        raise ValueError(f"a rule has on ({', '.join(sorted(ENDPOINTS))}) and kind ({', '.join(KINDS)})")
    options = {name: value for name, value in rule.items() if name not in {"on", "kind", "times", "after"}}
    if unknown := set(options) - KINDS[kind]:
        raise ValueError(f"{kind} has no option {', '.join(sorted(unknown))}")
    if kind in REQUIRED and REQUIRED[kind] not in options:
        raise ValueError(f"{kind} needs {REQUIRED[kind]}")
    for name, value in rule.items():
        if name == "times" and value is None:
            continue
        if name in RANGES and not (type(value) is int and RANGES[name][0] <= value <= RANGES[name][1]):
            raise ValueError(f"{name} must be a whole number from {RANGES[name][0]} to {RANGES[name][1]}")
    return Rule(on, kind, options, rule.get("times"), rule.get("after", 0))


class Faults:
    """The active faults."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rules: list[Rule] = []

    def set(self, rules: list[Rule]) -> None:
        """Replace all faults."""
        with self.lock:
            self.rules = rules

    def take(self, endpoint: str) -> list[Rule]:
        """Faults for a call of `endpoint`, counted down: every latency, and the first of another kind."""
        taken: list[Rule] = []
        with self.lock:
            for rule in self.rules:
                if rule.on not in {endpoint, "*"} or rule.times == 0:
                    continue
                if rule.kind != "latency" and any(other.kind != "latency" for other in taken):
                    continue
                if rule.after:
                    rule.after -= 1
                    continue
                if rule.times is not None:
                    rule.times -= 1
                taken.append(rule)
        return taken
