"""The palette's answers from a large archive compared with those from one of a tenth of its size.

`bench_palette.py [messages]`, 100,000 unless given: one archive has as many, the other ten times as many. Both have a
sender for each twenty messages and a conversation for each ninety, half of them groups; half of the messages are
Chinese (`bench_search.py`). For each kind of query the times are those of the whole request, of ROUNDS different texts,
each answered by both archives in turn: the median and the 95th percentile, and the median of this process's CPU time,
which other work on the machine disturbs less. An answer's entry in the audit log is part of it.

Run it with DATABASE_URL of either engine (default: a new SQLite file). Beside that database two are made, with "_many"
and "_few" after its name, and dropped at the end.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from urllib.parse import urlencode

from _setup import verdict
from bench_archive_lists import Answer, Archive, database, p95, prepare
from bench_search import Talk

ROUNDS, WARM_UP = 100, 5
FIRST, APART = 1_700_000_000_000, 97
EACH, PER_SENDER = 90, 20
RECALLS = 500
PIECE = 500
# Of an archive of 1,000,000 messages (ms).
WANTED = 100
TEN_TIMES = 2

FAMILY, GIVEN = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰"


def name_of(number: int) -> str:
    """The name of a sender: Chinese or Latin, shared by some."""
    chance = random.Random(number)  # noqa: S311 - nothing secret
    if number % 2:
        return chance.choice(FAMILY) + "".join(chance.choices(GIVEN, k=2))
    return "".join(chance.choices("aeinorst", k=6)).capitalize() + f" {chance.choice('ABCDEFG')}{number % 100}"


def fill(archive: Archive) -> None:
    """Write conversations, senders, messages and recalls, all indexed."""
    from django.core.management import call_command
    from django.db import transaction
    from django.test import Client

    from moderation.accounts.models import User
    from moderation.applications.models import Application
    from moderation.archive.models import Conversation, Message, Sender
    from moderation.search import index, people
    from recall.models import Recall, RecallReason, Sweep

    call_command("migrate", verbosity=0)
    user = User.objects.create_user(f"bench-{time.time_ns()}", role="lead")
    archive.client = Client(headers={"HX-Request": "true"})
    archive.client.force_login(user)
    started = time.perf_counter()
    application = Application.objects.get(slug="default")
    senders = archive.messages // PER_SENDER
    Sender.objects.bulk_create(
        [Sender(application=application, user_id=f"u-{number}", name=name_of(number)) for number in range(senders)],
        batch_size=PIECE,
    )
    people.index_names(senders // PIECE + 2)
    conversations = Conversation.objects.bulk_create(
        [
            Conversation(
                application=application,
                kind="group" if number % 2 else "private",
                group_id=f"g-{number}" if number % 2 else "",
                name=f"{name_of(number)} & friends" if number % 2 else "",
                user_a="" if number % 2 else f"u-{number % senders}",
                user_b="" if number % 2 else f"w-{number}",
                last_timestamp=FIRST + number * EACH * APART,
            )
            for number in range(archive.messages // EACH + 1)
        ],
        batch_size=PIECE,
    )
    talk = Talk()
    for start in range(0, archive.messages, PIECE):
        with transaction.atomic():
            index.add(Message.objects.bulk_create(_messages(talk, conversations, senders, start, archive.messages)))
    reason = RecallReason.objects.all()[0]
    chosen = conversations[:: max(1, len(conversations) // RECALLS)]
    Recall.objects.bulk_create(
        Recall(application=application, conversation=each, conversation_title=each.name, actor=user, reason=reason)
        for each in chosen
    )
    Sweep.objects.bulk_create(
        Sweep(application=application, sender_id=f"u-{n}", sender_name=name_of(n), since=0, until=1, actor=user)
        for n in range(RECALLS)
    )
    if archive.connection.vendor == "postgresql":
        with archive.connection.cursor() as cursor:
            # Autovacuum would do this in time.
            cursor.execute("VACUUM ANALYZE")
    print(f"  {archive.messages:,} messages written in {time.perf_counter() - started:.0f} s", flush=True)


def _messages(talk: Talk, conversations: list[Any], senders: int, start: int, end: int) -> list[Any]:
    """The next messages, unsaved; consecutive ones are in different conversations."""
    from moderation.archive.models import Message

    made = []
    for number in range(start, min(start + PIECE, end)):
        sender, timestamp = f"u-{talk.random.randrange(senders)}", FIRST + number * APART
        fields = {"type": "text", "messageId": f"m-{number}", "timestamp": timestamp, "senderId": sender}
        data = {**fields, "payload": {"text": talk.text(number % 2 == 0)}}
        hashed = f"{number:064x}"
        message = Message(
            conversation=conversations[number * 7919 % len(conversations)],
            timestamp=timestamp,
            message_id=f"m-{number}",
            sender_id=sender,
            type="text",
            raw=json.dumps(data, ensure_ascii=False),
            sha256=hashed,
            payload_sha256=hashed,
        )
        message.data = data
        made.append(message)
    return made


def kinds(talk: Talk) -> dict[str, Callable[[Archive], str]]:
    """For each kind of query, a function for a text that an archive has."""
    chance = talk.random

    def sender(archive: Archive) -> int:
        return chance.randrange(archive.messages // PER_SENDER)

    def message(archive: Archive) -> int:
        return chance.randrange(archive.messages)

    def conversation(archive: Archive) -> int:
        return chance.randrange(archive.messages // EACH // 2) * 2

    def cut(length: int) -> str:
        text = talk.text(is_chinese=True)
        return text[2 : 2 + length]

    return {
        "a user's id": lambda archive: f"u-{sender(archive)}",
        "a part of an id": lambda archive: f"-{sender(archive)}"[:4],
        "a group's id": lambda archive: f"g-{conversation(archive) + 1}",
        "two ids": lambda archive: f"u-{(n := conversation(archive)) % (archive.messages // PER_SENDER)}/w-{n}",
        "a whole name": lambda archive: name_of(sender(archive)),
        "a part of a name": lambda archive: name_of(sender(archive))[:2],
        "a message's id": lambda archive: f"m-{message(archive)}",
        "a timestamp": lambda archive: str(FIRST + message(archive) * APART),
        "1 Chinese character": lambda _archive: cut(1),
        "2 Chinese characters": lambda _archive: cut(2),
        "4 Chinese characters": lambda _archive: cut(4),
        "1 Latin letter": lambda _archive: chance.choice("aeinorst"),
        "2 Latin letters": lambda _archive: chance.choice(talk.words)[:2],
        "a Latin word": lambda _archive: chance.choice(talk.words),
        "two Latin words": lambda _archive: " ".join(chance.choices(talk.words[:200], k=2)),
        "nothing, in Chinese": lambda _archive: "".join(chance.choices("龘靐齉爩鱻麤", k=4)),
        "nothing, in Latin": lambda _archive: "".join(chance.choices("qxzjkv", k=9)),
        "no text": lambda _archive: "",
    }


def main(number: int) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    print(f"{connection.vendor}: {10 * number:,} messages against {number:,}")
    with database("many") as with_many, database("few") as with_few:
        many, few = Archive(10 * number, with_many), Archive(number, with_few)
        for archive in (few, many):
            with archive:
                fill(archive)
        figures = compare(few, many)
    return verdict(figures)


def compare(few: Archive, many: Archive) -> list[tuple[str, float, str, float]]:
    """Ask both archives in turn; return the 95th percentiles of the large one and their ratios to the small one's."""
    figures: list[tuple[str, float, str, float]] = []
    for name, text_of in kinds(Talk()).items():
        answers: dict[int, list[Answer]] = {few.messages: [], many.messages: []}
        cpu: list[float] = []
        for turn in range(ROUNDS + WARM_UP):
            for archive in (few, many) if turn % 2 else (many, few):
                address = f"/open/?{urlencode({'q': text_of(archive)})}"
                with archive:
                    began = time.process_time()
                    answer = archive.get(address)
                    used = time.process_time() - began
                if turn >= WARM_UP:
                    cpu += [used] if archive is many else []
                    answers[archive.messages].append(answer)
        here, there = answers[many.messages], answers[few.messages]
        print(
            f"  {name}: median {middle(here):.1f} ms, p95 {p95(here):.1f} ms, CPU {median(cpu) * 1000:.1f} ms of "
            f"{many.messages:,}; {middle(there):.1f} ms, {p95(there):.1f} ms of {few.messages:,}",
            flush=True,
        )
        figures.append((f"{name}, p95 in ms", p95(here), "≤", WANTED))
        figures.append((f"{name}, p95 of 10 × messages ÷ that of messages", p95(here) / p95(there), "≤", TEN_TIMES))
    return figures


def middle(answers: list[Answer]) -> float:
    """The median of the times (ms)."""
    return median(answer.took for answer in answers) * 1000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        status = main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    sys.exit(status)
