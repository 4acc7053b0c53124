"""`manage.py goeasy_sandbox`: a local GoEasy, to try the console without an account."""

from __future__ import annotations

import signal
import sqlite3
import threading
from argparse import ArgumentParser
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.goeasy.sandbox import Sandbox
from moderation.goeasy.sandbox.behaviour import Behaviour


class Command(BaseCommand):
    """Serves the sandbox until SIGTERM or Ctrl-C."""

    help = "Run a local GoEasy: REST API, webhook, faults on request. Its state survives a restart."
    # It does not use the console's database.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8001, help="port; 0 picks a free one (default: 8001)")
        parser.add_argument("--data", type=Path, default=Path("data/sandbox.sqlite3"), help="file for its state")
        parser.add_argument(
            "--seed", choices=["demo", "none"], default="demo", help="initial messages of an empty sandbox"
        )
        parser.add_argument("--reset", action="store_true", help="delete its messages and seed again")
        parser.add_argument("--appkey", default="BC-0123456789abcdef", help="common key")
        parser.add_argument("--rest-key", default="PR-0123456789abcdef", help="REST key")
        parser.add_argument("--subscribe-key", default="BS-0123456789abcdef", help="key that may not use the REST API")
        parser.add_argument("--secret-key", default="0123456789abcdef", help="key that signs webhooks")
        parser.add_argument("--webhook-url", help="URL to which every sent message is delivered")
        Behaviour.add_arguments(parser)

    def handle(self, **options: Any) -> None:
        names = ("host", "port", "data", "appkey", "rest_key", "subscribe_key", "secret_key", "webhook_url")
        seed = None if options["seed"] == "none" else options["seed"]
        try:
            behaviour = Behaviour.parse({each.name: options[each.name] for each in fields(Behaviour)})
        except ValueError as problem:
            raise CommandError(f"{problem}.") from None
        try:
            sandbox = Sandbox(**{name: options[name] for name in names}, seed=seed, behaviour=behaviour)
        except sqlite3.Error as problem:
            raise CommandError(f"--data {options['data']} cannot be used: {problem}") from None
        except (OSError, OverflowError) as problem:
            where = f"--data {options['data']} and {options['host']}:{options['port']}"
            raise CommandError(f"cannot start with {where}: {problem}") from None
        if options["reset"]:
            sandbox.reset(seed)
        stopped = threading.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda *_: stopped.set())
        with sandbox:
            self.stdout.write(f"listening on {sandbox.url}")
            self.stdout.write(f"Connect the console: GOEASY_REST_HOST={sandbox.url}, GOEASY_APPKEY=<its --appkey>")
            for name, value in behaviour.changed().items():
                self.stdout.write(f"behaviour: {name} = {value}")
            self.stdout.write("Set faults: POST /sandbox/faults. List calls: GET /sandbox/calls. Stop: Ctrl-C.")
            self.stdout.flush()
            stopped.wait()
