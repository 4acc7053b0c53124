"""`manage.py goeasy_check`: what holds of the console's assumptions about GoEasy, before going live."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from moderation.applications.models import Application
from moderation.audit.ledger.export import write_file
from moderation.goeasy.client import Private, prepare_send
from moderation.goeasy.errors import InvalidCall
from moderation.goeasy.wire import masked_key
from recall.goeasy_check.assumptions import Result
from recall.goeasy_check.steps import MESSAGES, Check, CheckFailed

HOLD, DIFFER, NOTHING_SENT, FAILED = 0, 1, 2, 3


class Command(BaseCommand):
    """Tries an application out with two users who agreed to it."""

    help = (
        f"Find out which of the console's assumptions hold for your GoEasy application: send {MESSAGES} messages from "
        "one user to another, who both agreed to it, read history, take these messages back, read again, and wait for "
        "the webhook. Nothing else is taken back. The answers are kept in a file, the key masked; the application's "
        "wait before a verification is set to what was measured. All of it is in the audit log. "
        "Exit status: 0 everything that the console needs holds, or was not seen; 1 something that it needs does not "
        "hold; 2 bad input, or not confirmed: nothing was sent; 3 the check could not be carried out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--app", default="default", help="the application's short name (default: default)")
        parser.add_argument("--user-a", required=True, help="who sends; agreed to it")
        parser.add_argument("--user-b", required=True, help="who receives; agreed to it")
        parser.add_argument(
            "--wait", type=float, default=60, metavar="SECONDS", help="for history, and for the webhook"
        )
        parser.add_argument("--output", type=Path, help="the file of the answers (default: one in DATA_DIR)")
        parser.add_argument("--yes", action="store_true", help="do not ask before anything is sent")
        parser.add_argument("--dry-run", action="store_true", help="show what would be sent; send nothing")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, **options: Any) -> None:
        check = self.prepared(options)
        if options["dry_run"]:
            self.dry_run(check)
            return
        output = self.output(options["output"], check.application.slug)
        if not options["yes"]:
            self.confirm(check)
        problem = ""
        try:
            check.run()
        except CheckFailed as failure:
            problem = str(failure)
            self.stderr.write(problem)
        if left := check.sent - check.taken_back:
            self.stderr.write(f"{left} of the messages may still be there: those with {check.nonce} in their text.")
        document = self.settle(check, problem, output)
        if options["json"]:
            # ASCII, whatever the terminal's encoding.
            self.stdout.write(json.dumps({name: value for name, value in document.items() if name != "answers"}))
        else:
            self.show(document)
        if status := FAILED if problem else DIFFER if check.findings.has_failed else HOLD:
            sys.exit(status)

    def prepared(self, options: dict[str, Any]) -> Check:
        """The check that the options describe; ends with 2 when they describe none."""
        application = Application.objects.filter(slug=options["app"]).first()
        if application is None:
            self.fail(f"--app: there is no application “{options['app']}”.")
        if problem := application.key_problem:
            why = "’s stored key cannot be opened." if problem == "key_unreadable" else " has no key."
            self.fail(f"--app: the application “{application.slug}”{why}")
        if not 1 <= options["wait"] <= 3600:
            self.fail("--wait: from 1 to 3600 seconds.")
        try:
            pair = Private(options["user_a"], options["user_b"])
        except InvalidCall as problem:
            self.fail(f"--user-a, --user-b: {problem}")
        if pair.user_a == pair.user_b:
            self.fail("--user-a, --user-b: two users are needed.")
        return Check(application, pair, options["wait"], self.stderr.write)

    def fail(self, message: str) -> NoReturn:
        """Say what is wrong on standard error and end with 2: nothing was sent."""
        self.stderr.write(message)
        sys.exit(NOTHING_SENT)

    def dry_run(self, check: Check) -> None:
        """Show what would be sent, the key masked."""
        for number in range(1, MESSAGES + 1):
            body = prepare_send(**check.message(number)).shown(check.application.appkey())
            self.stdout.write(json.dumps(body, ensure_ascii=False))
        self.stderr.write(
            f"Dry run: to {check.application.rest_host} these {MESSAGES} messages would be sent, and then taken back; "
            "nothing was."
        )

    def output(self, path: Path | None, slug: str) -> Path:
        """Where the answers will be kept: a file that can be written; ends with 2 otherwise."""
        if path is None:
            path = settings.DATA_DIR / f"goeasy-check-{slug}-{timezone.now():%Y%m%dT%H%M%SZ}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            self.fail(f"--output {path}: {problem.strerror}")
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            self.fail(f"--output {path}: no file can be written there.")
        return path

    def confirm(self, check: Check) -> None:
        """Go on only when somebody types yes."""
        self.stderr.write(
            f"{MESSAGES} messages will be sent from “{check.pair.user_a}” to “{check.pair.user_b}” in the application "
            f"“{check.application.slug}” at {check.application.rest_host}, and taken back. Both see them. Type yes to "
            "go on:"
        )
        if sys.stdin.readline().strip().lower() != "yes":
            self.fail("Not confirmed; nothing was sent.")

    def settle(self, check: Check, problem: str, output: Path) -> dict[str, Any]:
        """Set the application's wait to what was measured, keep the answers, record the end; return the document."""
        application = check.application
        before = application.verify_after
        if (measured := check.verify_after()) is not None and measured != application.verify_after_seconds:
            application.verify_after_seconds = measured
            application.save(update_fields=["verify_after_seconds"])
        document = {
            "app": application.slug,
            "rest_host": application.rest_host,
            "at": timezone.now().isoformat(timespec="seconds"),
            "check": check.nonce,
            "users": [check.pair.user_a, check.pair.user_b],
            "problem": problem,
            "assumptions": check.findings.as_list(),
            "measured": check.measured,
            "may_be_left": check.sent - check.taken_back,
            "verify_after": {"before": before, "now": application.verify_after},
            "file": str(output),
            "answers": check.answers,
        }
        text = json.dumps(document, ensure_ascii=False, indent=1)
        appkey = application.appkey()
        write_file(output, [text.replace(appkey, masked_key(appkey)), "\n"], 0o600)
        results = {
            result.value: [id for id, finding in check.findings.by_id.items() if finding.result == result]  # noqa: A001
            for result in Result
        }
        check.log("ended", problem=problem, results=results, measured=check.measured, file=output.name)
        return document

    def show(self, document: dict[str, Any]) -> None:
        """Print the table."""
        for each in document["assumptions"]:
            needed = " (needed)" if each["needed"] and each["result"] == Result.FAILS.value else ""
            seen = f" – {each['seen']}" if each["seen"] else ""
            self.stdout.write(f"{each['result']:14} {each['assumption']}{needed}{seen}")
        for name, value in document["measured"].items():
            self.stdout.write(f"{value:12.1f} s {MEASURED[name]}")
        wait = document["verify_after"]
        self.stdout.write(f"History is read {wait['now']:g} s after a recall (before: {wait['before']:g} s).")
        self.stdout.write(f"The answers are in {document['file']}.")


MEASURED = {
    "sent_shown_s": "until history had what was sent",
    "recall_shown_s": "until history showed the recall",
    "webhook_s": "until the webhook had brought all",
}
