"""The conversation page's first screen: its size, and its server time at 2,000 messages over that at 60.

Both conversations are served by the same process in the same run, in turns; the sandbox answers over real HTTP. Run
it with DATABASE_URL of either engine (default: a new SQLite file).
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS = 25
FIRST = 1_700_000_000_000
TEXTS = ("This is the offer of the day 🎉 ", "加我微信 稳赚不赔 名额有限 ", "Has anybody seen the new map? ")


def prepare(folder: str, sandbox_url: str, appkey: str) -> None:
    """Settings, and an empty database."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    os.environ |= {
        "DEBUG": "true",
        "DJANGO_SETTINGS_MODULE": "moderation.settings",
        "GOEASY_APPKEY": appkey,
        "GOEASY_REST_HOST": sandbox_url,
        "ALLOWED_HOSTS": "testserver",
    }
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    # DEBUG keeps every query in memory; only its static files are wanted here.
    settings.DEBUG = False
    call_command("migrate", verbosity=0)


def fill(count: int) -> str:
    """A group of `count` messages, archived; returns its page's address."""
    from moderation.archive.ingest import ingest
    from moderation.archive.models import Application, Conversation
    from moderation.goeasy.client import Group

    application = Application.objects.get(slug="default")
    group = Conversation.objects.open(application, Group(f"bench-{count}-{time.time_ns()}"))
    messages = [
        {
            "type": "text",
            "messageId": f"{group.pk}-{number}",
            "timestamp": FIRST + number * 997,
            "senderId": f"user-{number % 40}",
            "senderData": {"name": f"用户 {number % 40}"},
            "payload": {"text": TEXTS[number % 3] * (1 + number % 4)},
        }
        for number in range(count)
    ]
    SANDBOX.add_messages({"kind": "group", "group_id": group.group_id}, messages)
    ingest(group, [json.dumps(message, ensure_ascii=False) for message in messages])
    return group.get_absolute_url()


def main() -> None:
    """Print sizes, times and their ratio."""
    from django.test import Client

    from moderation.accounts.models import User

    client = Client()
    client.force_login(User.objects.create_user(f"bench-{time.time_ns()}", role="moderator"))
    addresses = {count: fill(count) for count in (60, 2_000)}
    times: dict[int, list[float]] = {count: [] for count in addresses}
    sizes: dict[int, int] = {}
    for _round in range(ROUNDS):
        for count, address in addresses.items():
            started = time.perf_counter()
            response = client.get(address)
            times[count].append((time.perf_counter() - started) * 1000)
            assert response.status_code == 200, response.status_code
            sizes[count] = len(response.content)
    from django.db import connection

    medians = {count: statistics.median(values[2:]) for count, values in times.items()}
    for count in addresses:
        print(
            f"{connection.vendor}: first screen of {count:>5} messages: HTML {sizes[count] / 1024:.1f} KB, "
            f"server time {medians[count]:.1f} ms (median of {ROUNDS - 2}, GoEasy's sandbox read included)"
        )
    print(f"{connection.vendor}: server time at 2,000 ÷ at 60 messages: {medians[2_000] / medians[60]:.2f}")


if __name__ == "__main__":
    from moderation.goeasy.sandbox import Sandbox

    with tempfile.TemporaryDirectory() as folder, Sandbox() as SANDBOX:
        prepare(folder, SANDBOX.url, SANDBOX.appkey)
        main()
