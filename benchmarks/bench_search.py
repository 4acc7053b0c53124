"""Searching against LIKE: the same messages for every text, how much faster, and how large the index is.

`bench_search.py [messages] [texts]`, 100,000 and 10,000 unless given. Half of the messages are Chinese. The texts to
search for have 1 to 6 characters; most are cut out of messages, some are made up. Run it with DATABASE_URL of either
engine (default: a new SQLite file); of PostgreSQL, an empty database.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FIRST = 1_700_000_000_000
BATCH = 500
CONVERSATIONS, SENDERS = 500, 5_000
# Characters and words are as unevenly frequent as in a language: the nth of them as 1 / n.
CHARACTERS, WORDS = 3_000, 8_000
RARE = 0.01


def prepare(folder: str) -> None:
    """Settings, and the tables."""
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
    os.environ |= {
        "SECRET_KEY": "benchmark-" * 6,
        "DEBUG": "false",
        "DJANGO_SETTINGS_MODULE": "moderation.settings",
    }
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


class Talk:
    """What people write, half of them in Chinese."""

    def __init__(self) -> None:
        self.random = random.Random(7)  # noqa: S311 - nothing secret
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        common = [1 / rank for rank in range(2, len(letters) + 2)]
        self.characters = [chr(0x4E00 + 7 * number) for number in range(CHARACTERS)]
        self.words = [
            "".join(self.random.choices(letters, common, k=self.random.randint(2, 9))) for _word in range(WORDS)
        ]
        self.of_characters = list(self._sums(CHARACTERS))
        self.of_words = list(self._sums(WORDS))

    def _sums(self, number: int) -> Iterator[float]:
        total = 0.0
        for rank in range(1, number + 1):
            total += 1 / (rank + 2)
            yield total

    def text(self, is_chinese: bool) -> str:
        """One message."""
        if is_chinese:
            text = self.random.choices(self.characters, cum_weights=self.of_characters, k=self.random.randint(6, 40))
            return "".join(text)
        words = self.random.choices(self.words, cum_weights=self.of_words, k=self.random.randint(3, 18))
        return " ".join(words).capitalize()

    def looked_for(self, texts: list[str]) -> str:
        """1 to 6 characters: of a message in nine cases of ten."""
        length = self.random.randint(1, 6)
        text = self.random.choice(texts) if self.random.random() < 0.9 else self.text(self.random.random() < 0.5)
        start = self.random.randrange(max(1, len(text) - length + 1))
        return text[start : start + length]


def fill(talk: Talk, number: int) -> list[str]:
    """So many messages in the archive; returns some of their texts."""
    from moderation.archive.ingest import ingest
    from moderation.archive.models import Application, Conversation
    from moderation.goeasy.client import Group

    application = Application.objects.get(slug="default")
    groups = [Conversation.objects.open(application, Group(f"bench-{each}")) for each in range(CONVERSATIONS)]
    some: list[str] = []
    started = time.perf_counter()
    for start in range(0, number, BATCH):
        texts = [talk.text(place % 2 == 0) for place in range(min(BATCH, number - start))]
        raws = [
            json.dumps(
                {
                    "type": "text",
                    "messageId": f"bench-{start + place}",
                    "timestamp": FIRST + (start + place) * 97,
                    "senderId": f"user-{talk.random.randrange(SENDERS)}",
                    "payload": {"text": text},
                },
                ensure_ascii=False,
            )
            for place, text in enumerate(texts)
        ]
        ingest(groups[start // BATCH % CONVERSATIONS], raws)
        some += texts[:20]
    print(f"  {number} messages archived, {number / (time.perf_counter() - started):.0f} a second, {BATCH} at a time")
    return some


def sizes() -> tuple[int, int]:
    """Bytes of the texts, and of the index."""
    from django.db import connection

    from moderation.archive.search import PAIRS, TABLE

    is_sqlite = connection.vendor == "sqlite"
    length = "length(CAST(text AS BLOB))" if is_sqlite else "octet_length(text)"
    index = (
        f"SELECT sum(pgsize) FROM dbstat WHERE name LIKE '{PAIRS}%'"
        if is_sqlite
        else f"SELECT pg_relation_size('{PAIRS}')"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT sum({length}) FROM {TABLE}")  # noqa: S608 - no value
        text = cursor.fetchone()[0]
        cursor.execute(index)
        return int(text), int(cursor.fetchone()[0])


def like(text: str) -> set[int]:
    """The ids of the messages that LIKE finds."""
    from django.db import connection

    from moderation.archive.search import TABLE, normalised

    escaped = normalised(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with connection.cursor() as cursor:
        statement = f"SELECT message_id FROM {TABLE} WHERE text LIKE %s ESCAPE '\\'"  # noqa: S608 - no value
        cursor.execute(statement, [f"%{escaped}%"])
        return {pk for (pk,) in cursor.fetchall()}


def searched(text: str) -> set[int]:
    """The ids of the messages that the search finds, page after page."""
    from moderation.archive import search
    from moderation.archive.timeline import read_key

    found: set[int] = set()
    before = None
    while True:
        page = search.find(search.Wanted(text=text), before=before, limit=10**6)
        found |= {pk for _timestamp, pk in page.keys}
        if not page.older:
            return found
        before = read_key(page.older)


def main(number: int, texts: int) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    from moderation.archive import search

    print(f"{connection.vendor}: {number} messages, {texts} texts")
    talk = Talk()
    some = fill(talk, number)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # As autovacuum does in time.
            cursor.execute(f"VACUUM ANALYZE {search.TABLE}")
    text_bytes, index_bytes = sizes()
    print(f"  text {text_bytes / 2**20:.1f} MiB · index {index_bytes / 2**20:.1f} MiB")
    different = 0
    ratios, pages, all_ratios = [], [], []
    for _text in range(texts):
        looked_for = talk.looked_for(some)
        started = time.perf_counter()
        found = searched(looked_for)
        took = time.perf_counter() - started
        started = time.perf_counter()
        expected = like(looked_for)
        like_took = time.perf_counter() - started
        different += found != expected
        started = time.perf_counter()
        search.find(search.Wanted(text=looked_for))
        pages.append(time.perf_counter() - started)
        all_ratios.append(like_took / took)
        if len(looked_for) > 1 and len(expected) < RARE * number:
            ratios.append(like_took / took)
    pages.sort()
    print(
        f"  a page of 50: median {pages[len(pages) // 2] * 1000:.2f} ms, 99% within "
        f"{pages[len(pages) * 99 // 100] * 1000:.1f} ms, all within {pages[-1] * 1000:.0f} ms"
    )
    print(f"  LIKE ÷ search, every text, all its messages: median {statistics.median(all_ratios):.1f}")
    missed = different > 0
    print(f"  texts with other messages than LIKE's: {different} of {texts} (wanted: none)")
    # An index is smaller beside more messages, and LIKE slower.
    for name, figure, sign, wanted in [
        ("LIKE ÷ search, 2 characters or more in under 1% of messages, median", statistics.median(ratios), "≥", 100),
        ("index ÷ text", index_bytes / text_bytes, "≤", 2),
    ]:
        is_met = figure <= wanted if sign == "≤" else figure >= wanted
        missed |= not is_met and number >= 1_000_000
        print(f"  {name}: {figure:.2f} (wanted at 1,000,000: {sign} {wanted})")
    print(f"  ({len(ratios)} texts are such)")
    return int(missed)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        status = main(*(numbers + [100_000, 10_000][len(numbers) :]))
    sys.exit(status)
