"""`manage.py recall`: one recall, through the same service as the browser (docs/interface.md, "Commands")."""

from __future__ import annotations

import json
import sys
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.http import QueryDict

from moderation.accounts.models import User
from moderation.outbox.models import Attempt
from moderation.outbox.recovery import recover_orphans
from recall import services
from recall.effect import send_now
from recall.forms import RecallForm
from recall.models import Recall, RecallBatch

ACCEPTED, REFUSED, BAD_INPUT, UNKNOWN = 0, 1, 2, 3


class Command(BaseCommand):
    """Takes messages of one conversation back."""

    help = (
        "Recall messages of one conversation by their timestamps (ms). Exit status: 0 all accepted, or a valid dry "
        "run, or handed to the worker; 1 something was refused or could not be sent; 2 bad input, nothing sent; "
        "3 something is unknown, or was accepted with an answer other than OK."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--app", default="default", help="the application's short name (default: default)")
        parser.add_argument("--user-a", default="", help="one side of a private conversation")
        parser.add_argument("--user-b", default="", help="the other side")
        parser.add_argument("--group", default="", help="the group of a group conversation")
        parser.add_argument("--actor", required=True, help="user name of who decides; needs the right to recall")
        parser.add_argument("--reason", required=True, help="code of a reason, as Django admin lists them")
        parser.add_argument("--note", default="", help="for the audit log")
        parser.add_argument("--recaller-id", help="what clients see (default: the actor's pseudonym); for leads")
        parser.add_argument("--recaller-data", help="a JSON object that clients see; for leads")
        parser.add_argument("--file", help="read timestamps from a file, or - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="check everything, show the calls, send nothing")
        parser.add_argument("--wait", action="store_true", help="send from this process; return when all is final")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
        parser.add_argument("timestamps", nargs="*", metavar="TIMESTAMP", help="ms since the epoch, 13 digits")

    def handle(self, **options: Any) -> None:
        if broken := [name for name, value in options.items() if isinstance(value, str) and not is_text(value)]:
            self.fail(f"--{name.replace('_', '-')}: this is no UTF-8 text." for name in broken)
        actor = User.objects.filter(username=options["actor"], is_active=True).first()
        if actor is None or not actor.has_perm("recall.add_recall"):
            self.fail([f"--actor: nobody named “{options['actor']}” may recall."])
        form = RecallForm(self.form_data(actor, options), actor=actor)
        if not form.is_valid():
            self.fail(
                f"{OPTIONS.get(name, name)}: {message}" if name != "__all__" else message
                for name, messages in form.errors.items()
                for message in map(str, messages)
            )
        for message in form.dropped:
            self.stderr.write(message)
        if options["dry_run"]:
            self.dry_run(form, as_json=options["json"])
            return
        recall = services.request_recall(
            conversation=form.conversation(),
            actor=actor,
            reason=form.cleaned_data["reason"],
            note=form.cleaned_data["note"],
            timestamps=form.cleaned_data["timestamps"],
            recaller=form.cleaned_data["recaller"],
            submission=form.cleaned_data["submission"],
            # Whoever types the command has called for it already.
            grace_seconds=0,
        )
        if options["wait"]:
            send_to_the_end(recall)
        self.show(recall, as_json=options["json"])
        if options["wait"]:
            sys.exit(exit_status(recall))

    def form_data(self, actor: User, options: dict[str, Any]) -> QueryDict:
        """The command line as the form that the browser would submit."""
        data = QueryDict(mutable=True)
        data.update(
            {
                "app": options["app"],
                # A group makes it a group's, unless a user is named too: the form then refuses both at once.
                "kind": "group" if options["group"] else "private",
                "user_a": options["user_a"],
                "user_b": options["user_b"],
                "group_id": options["group"],
                "reason": options["reason"],
                "note": options["note"],
                "submission": str(uuid.uuid4()),
                # Named in neither way, it is the actor's usual one.
                **{name: options[name] for name in ("recaller_id", "recaller_data") if options[name] is not None},
            }
        )
        data.setlist("timestamps", [*options["timestamps"], self.read_file(options["file"])])
        return data

    def read_file(self, name: str | None) -> str:
        """The text of the file that timestamps come from; of standard input for "-"."""
        try:
            if name == "-":
                return sys.stdin.read()
            if name:
                with open(name, encoding="utf-8-sig") as file:
                    return file.read()
        except (OSError, UnicodeDecodeError) as problem:
            self.fail([f"--file: {problem}"])
        return ""

    def fail(self, messages: Iterable[str]) -> NoReturn:
        """Say what is wrong on standard error and end with 2: nothing was stored, nothing sent."""
        for message in messages:
            self.stderr.write(message)
        sys.exit(BAD_INPUT)

    def dry_run(self, form: RecallForm, *, as_json: bool) -> None:
        """Show what would be sent, the key masked."""
        target, app = form.cleaned_data["target"], form.cleaned_data["app"]
        calls = services.plan(form.cleaned_data["timestamps"])
        bodies = [services.call_body(app, target, call, form.cleaned_data["recaller"]) for call in calls]
        if as_json:
            document = {
                "recall": None,
                "state": "dry run",
                "timestamps": sum(len(call) for call in calls),
                "calls": len(calls),
                "accepted": 0,
                "refused": 0,
                "unknown": 0,
                "cancelled": 0,
                "batches": [{"index": index, "timestamps": list(call)} for index, call in enumerate(calls)],
                "bodies": bodies,
            }
            # ASCII, whatever the terminal's encoding: an answer that cannot be printed would look like a failure.
            self.stdout.write(json.dumps(document))
            return
        for body in bodies:
            self.stdout.write(json.dumps(body, ensure_ascii=False))
        self.stderr.write(f"Dry run: {len(calls)} {'call' if len(calls) == 1 else 'calls'} would be sent; nothing was.")

    def show(self, recall: Recall, *, as_json: bool) -> None:
        """Print the recall as it stands."""
        document = as_document(recall)
        if as_json:
            # ASCII, whatever the terminal's encoding: an answer that cannot be printed would look like a failure.
            self.stdout.write(json.dumps(document))
            return
        self.stdout.write(f"recall {document['recall']}: {document['state']}")
        for batch in document["batches"]:
            self.stdout.write(
                f"  call {batch['index'] + 1}/{document['calls']}: {len(batch['timestamps'])} timestamps, "
                f"{batch['state']}, code {batch['response_code'] if batch['response_code'] is not None else '–'}"
            )
        if recall.stop_reason:
            self.stderr.write(str(recall.get_stop_reason_display()))
        self.say_what_is_not_known(recall)

    def say_what_is_not_known(self, recall: Recall) -> None:
        """Say on standard error which calls' answers do not settle what became of the messages."""
        refused = recall.batches.filter(state=RecallBatch.State.REFUSED, check_at__isnull=False)
        for batch in refused.order_by("index"):
            self.stderr.write(f"Call {batch.index + 1} was refused; history will show whether its messages are gone.")
        for batch in recall.batches.filter(settlement=RecallBatch.Settlement.UNUSUAL).order_by("index"):
            latest = batch.attempts.latest("number")
            self.stderr.write(
                f"Call {batch.index + 1} was accepted, but not with the usual OK: {latest.response_content[:200]}"
            )


OPTIONS = {"user_a": "--user-a", "user_b": "--user-b", "group_id": "--group"} | {
    name: f"--{name.replace('_', '-')}" for name in ("app", "reason", "note", "recaller_id", "recaller_data")
}


def is_text(value: str) -> bool:
    """Whether the argument was text: bytes that are no UTF-8 arrive as lone surrogates."""
    return value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value)


def send_to_the_end(recall: Recall) -> None:
    """Send the recall from this process and return when all of it is final, a worker that takes part included."""
    while True:
        send_now(recall)
        recall.refresh_from_db()
        if recall.is_final and not recall.batches.filter(state=RecallBatch.State.SENDING).exists():
            return
        recover_orphans()
        time.sleep(0.1)


def as_document(recall: Recall) -> dict[str, Any]:
    """The recall as docs/interface.md's JSON. The numbers of outcomes count timestamps; `unsent` are those left."""
    batches = list(recall.batches.order_by("index").select_related("call").prefetch_related("items", "call__attempts"))
    sizes = dict.fromkeys(RecallBatch.State.values, 0)
    for batch in batches:
        sizes[batch.state] += batch.size
    return {
        "recall": str(recall.pk),
        "state": recall.state,
        "timestamps": sum(batch.size for batch in batches),
        "calls": len(batches),
        "accepted": sizes["accepted"],
        "refused": sizes["refused"],
        "unknown": sizes["unknown"],
        "cancelled": sizes["cancelled"],
        "unsent": sizes["pending"] + sizes["sending"],
        "batches": [batch_document(batch) for batch in batches],
    }


def batch_document(batch: RecallBatch) -> dict[str, Any]:
    """One batch, with what its latest attempt brought."""
    attempts = list(batch.attempts.all())
    latest = attempts[-1] if attempts else Attempt()
    return {
        "index": batch.index,
        "timestamps": [item.timestamp for item in sorted(batch.items.all(), key=lambda item: item.position)],
        "state": batch.state,
        "http_status": latest.http_status,
        "response_code": latest.response_code,
        "response_content": latest.response_content or None,
        "attempts": len(attempts),
    }


def exit_status(recall: Recall) -> int:
    """3 when anything is unknown, else 1 when anything was refused or left unsent, else 0.

    Unknown is also what was accepted with an unusual answer, until history shows that it is gone.
    """
    states = set(recall.batches.values_list("state", flat=True))
    unusual = recall.batches.filter(settlement=RecallBatch.Settlement.UNUSUAL).exists()
    if unusual or RecallBatch.State.UNKNOWN in states or RecallBatch.State.SENDING in states:
        return UNKNOWN
    return ACCEPTED if states <= {RecallBatch.State.ACCEPTED} else REFUSED
