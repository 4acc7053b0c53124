"""Faults that the sandbox makes on request."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

KINDS = {"latency", "status", "refuse", "drop_before", "drop_after", "html", "half", "redirect"}
ENDPOINTS = {"recall", "history", "send", "*"}


@dataclass
class Rule:
    """One fault: for which endpoint, what, and for how many of its calls.

    "latency" {ms} · "status" {status, retry_after?} · "refuse" {code, content?} · "drop_before": the connection
    closes and nothing happens · "drop_after": it closes after the effect · "html" {status?, effect?}: a page
    instead of JSON · "half": half an answer after the effect · "redirect" {to}.
    `after` calls pass before it, then it holds for `times` calls (for ever when None).
    """

    on: str
    kind: str
    options: dict[str, Any]
    times: int | None
    after: int


def parse_rules(data: Any) -> list[Rule]:
    """The rules in {"rules": […]}; raises ValueError with a sentence for what is none."""
    rules = data.get("rules") if isinstance(data, dict) else None
    if not isinstance(rules, list):
        raise ValueError('send {"rules": […]}')
    parsed = []
    for rule in rules:
        if not isinstance(rule, dict) or rule.get("kind") not in KINDS or rule.get("on", "*") not in ENDPOINTS:
            raise ValueError(f"a rule has on ({', '.join(sorted(ENDPOINTS))}) and kind ({', '.join(sorted(KINDS))})")
        options = {name: value for name, value in rule.items() if name not in {"on", "kind", "times", "after"}}
        parsed.append(Rule(rule.get("on", "*"), rule["kind"], options, rule.get("times"), rule.get("after", 0)))
    return parsed


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rules: list[Rule] = []

    def set(self, rules: list[Rule]) -> None:
        """Replace all faults."""
        with self.lock:
            self.rules = rules

    def take(self, endpoint: str) -> list[Rule]:
        """The faults for this call of `endpoint`, counted down: any latency, and the first of the other kinds."""
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
