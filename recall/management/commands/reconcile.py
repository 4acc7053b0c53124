"""`manage.py reconcile`: find out what became of calls that nobody heard an answer to."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from moderation.outbox.recovery import recover_orphans
from recall import verify


class Command(BaseCommand):
    """Calls unknown what dead processes left open, and looks in history for what became of everything unknown."""

    help = (
        "Find attempts that a dead process left open and mark them unknown; then read GoEasy's history for every "
        "call of which no answer tells what became of it. Nothing is sent again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *, json: bool, **options: Any) -> None:
        orphans = recover_orphans()
        checked = verify.reconcile()
        document = {
            "orphans": orphans,
            "calls": checked.calls,
            "gone": checked.gone,
            "still_visible": checked.still_visible,
            "unknowable": checked.unknowable,
            "unavailable": checked.unavailable,
        }
        if json:
            self.stdout.write(as_json(document))
            return
        self.stdout.write(f"Attempts that a dead process left open: {orphans}, now unknown.")
        self.stdout.write(f"Calls of unknown outcome that were looked for in history: {checked.calls}.")
        self.stdout.write(
            f"Timestamps: {checked.gone} gone, {checked.still_visible} still visible, {checked.unknowable} unknowable, "
            f"{checked.unavailable} not read (history was not available; it is read again later)."
        )


def as_json(document: dict[str, int]) -> str:
    """One line of JSON."""
    return json.dumps(document)
