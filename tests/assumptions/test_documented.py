"""The sandbox's switches, the checks and their document agree."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from moderation.goeasy.sandbox import Behaviour
from recall.goeasy_check.assumptions import ASSUMPTIONS

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "goeasy-assumptions.md").read_text()


def test_every_switch_of_the_sandbox_is_documented() -> None:
    switches = {f"--{each.name.replace('_', '-')}" for each in fields(Behaviour)}
    assert switches - set(re.findall(r"--[a-z0-9-]+", DOCUMENT)) == set()


def test_every_assumption_that_is_checked_is_documented_and_no_other() -> None:
    rows = [line.split("|") for line in DOCUMENT.splitlines() if line.startswith("| ")]
    assert {row[4].strip(" `") for row in rows} - {"goeasy_check"} == {each.id for each in ASSUMPTIONS}


def test_every_switch_is_used_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert {each.name for each in fields(Behaviour)} - set(re.findall(r"[a-z_0-9]+", tests)) == set()
