"""`manage.py backfill`: read history into the archive (docs/interface.md, "Commands")."""

from __future__ import annotations

import json as json_module
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from moderation.goeasy.client import Group, Private, Target
from moderation.goeasy.errors import InvalidCall
from moderation.ingestion import comparison

# After this many consecutive conversations whose history cannot be read, the command stops.
MAX_FAILURES = 3


class Command(BaseCommand):
    """Read the history of one conversation, or of all archived ones, within the application's limits."""

    help = (
        "Read GoEasy's history into the archive. Exit status: 0 all was read; 1 something could not be read, or "
        "history cannot show it whole; 2 bad input."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--app", default="default", help="the application's short name (default: default)")
        parser.add_argument("--user-a", default="", help="one side of a private conversation")
        parser.add_argument("--user-b", default="", help="the other side")
        parser.add_argument("--group", default="", help="the group of a group conversation")
        parser.add_argument("--all", action="store_true", help="every conversation of the application in the archive")
        parser.add_argument("--since", type=int, default=0, metavar="MS", help="no further back than this (ms)")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *, app: str, since: int, json: bool, **options: Any) -> None:
        application = Application.objects.filter(slug=app).first()
        if application is None:
            raise CommandError(f"--app: there is no application “{app}”.", returncode=2)
        conversations = self.conversations(application, options)
        document: dict[str, Any] = {
            "app": app,
            "conversations": 0,
            "calls": 0,
            "added": 0,
            "missed": 0,
            "unreadable": 0,
            "crowded": [],
            "problems": [],
        }
        failures = 0
        for conversation in conversations:
            filled = comparison.fill(conversation, since=since)
            document["conversations"] += 1
            for name in ("calls", "added", "missed"):
                document[name] += getattr(filled, name)
            document["unreadable"] += len(filled.unreadable)
            about = {"conversation": conversation.for_audit()}
            document["crowded"] += [{**about, "timestamp": timestamp} for timestamp in filled.crowded]
            if filled.problem:
                document["problems"].append({**about, "problem": filled.problem})
                self.stderr.write(f"{conversation}: history could not be read ({filled.problem}).")
            elif not filled.whole:
                why = "unreadable" if filled.is_blocked else "too_long"
                document["problems"].append({**about, "problem": why})
                self.stderr.write(f"{conversation}: history was not read to where it should be ({why}).")
            if filled.unreadable:
                self.stderr.write(
                    f"{conversation}: {len(filled.unreadable)} messages could not be read; they are kept as they came."
                )
            failures = failures + 1 if filled.problem else 0
            if failures >= MAX_FAILURES:
                self.stderr.write(f"{MAX_FAILURES} in a row could not be read: the rest is not tried.")
                break
        for crowd in document["crowded"]:
            self.stderr.write(
                f"{crowd['conversation']}: more than 30 messages at {crowd['timestamp']}; history cannot show them all."
            )
        if json:
            self.stdout.write(json_module.dumps(document, ensure_ascii=False))
        else:
            self.stdout.write(
                f"{document['conversations']} conversations, {document['calls']} calls: {document['added']} messages "
                f"added, {document['missed']} of which the webhook should have brought."
            )
        if document["problems"] or document["crowded"] or document["unreadable"]:
            raise SystemExit(1)

    def conversations(self, application: Application, options: dict[str, Any]) -> Iterator[Conversation]:
        """The conversations that the options select; CommandError when they select none, or in two ways."""
        user_a, user_b, group = options["user_a"], options["user_b"], options["group"]
        if sum([bool(user_a or user_b), bool(group), options["all"]]) != 1:
            raise CommandError("Name one: --user-a and --user-b, --group, or --all.", returncode=2)
        if options["all"]:
            return every_conversation(application)
        try:
            target: Target = Group(group) if group else Private(user_a, user_b)
        except InvalidCall as problem:
            raise CommandError(str(problem), returncode=2) from None
        return iter([Conversation.objects.open(application, target)])


def every_conversation(application: Application) -> Iterator[Conversation]:
    """Yield the application's conversations, paged by key because a cursor would stay open for hours."""
    rows = Conversation.objects.filter(application=application).select_related("application").order_by("pk")
    last = 0
    while some := list(rows.filter(pk__gt=last)[:500]):
        yield from some
        last = some[-1].pk
