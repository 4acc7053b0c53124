"""Search compared with LIKE: equal results for every text, the speed-up, and the index size.

`bench_search.py [messages] [texts]`, 100,000 and 10,000 unless given. Half of the messages are Chinese, of these one
in five is disguised: with invisible characters, marks and signs between the characters. The texts to search for have 1
to 6 characters, or are Latin words; most are cut out of messages, some are made up. One in four is searched for without
regard to spaces and signs. Run it with DATABASE_URL of either engine (default: a new SQLite file); of PostgreSQL, an
empty database, or that of an earlier run with as many messages.

Each text's messages are compared with those that hold it in memory: all of them, or, of a text that more than 1% hold,
three thousand: the newest, the oldest, and some between. Memory and LIKE are compared, and LIKE is timed, for LIKES of
the texts that 1% or less hold.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FIRST, APART = 1_700_000_000_000, 97
BATCH = 500
CONVERSATIONS, SENDERS = 500, 5_000
# Characters and words are as unevenly frequent as in a language: the nth of them as 1 / n.
CHARACTERS, WORDS = 3_000, 8_000
RARE = 0.01
LIKES = 400
# One Chinese message in so many.
DISGUISED = 5
DISGUISES = ["\u200b", "\u2060", "\u200d", "\ufe0f", "\u034f", "\u0301", "\U000e0041", " ", ".", "·", "🎉"]
CHINESE, LATIN, OTHER = "two or more ideographs", "Latin words of four or more letters", "others"


def prepare(folder: str) -> None:
    """Set up Django and migrate the database."""
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
    """Generator of messages, half of them Chinese, and of search texts."""

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
        """Generate one message."""
        if is_chinese:
            text = self.random.choices(self.characters, cum_weights=self.of_characters, k=self.random.randint(6, 40))
            if self.random.randrange(DISGUISED):
                return "".join(text)
            return "".join(sign + self.random.choice(["", "", self.random.choice(DISGUISES)]) for sign in text)
        words = self.random.choices(self.words, cum_weights=self.of_words, k=self.random.randint(3, 18))
        return " ".join(words).capitalize()

    def looked_for(self, texts: list[str]) -> str:
        """A Latin word in one case of four; else 1 to 6 characters, of a message in nine cases of ten."""
        if not self.random.randrange(4):
            return self.random.choice(self.words)
        length = self.random.randint(1, 6)
        text = self.random.choice(texts) if self.random.random() < 0.9 else self.text(self.random.random() < 0.5)
        start = self.random.randrange(max(1, len(text) - length + 1))
        return text[start : start + length]


def fill(talk: Talk, number: int) -> list[str]:
    """Archive `number` messages; return their normalised texts, the oldest first.

    The texts are normalised in memory, independently of the index.
    """
    from moderation.applications.models import Application
    from moderation.archive.ingest import ingest
    from moderation.archive.models import Conversation
    from moderation.goeasy.client import Group
    from moderation.search.models import SearchText
    from moderation.search.normalise import normalise

    there = SearchText.objects.order_by("message__timestamp").values_list("text", flat=True)
    if texts := list(there.iterator()):
        assert len(texts) == number, "this database holds another number of messages"
        return texts
    application = Application.objects.get(slug="default")
    groups = [Conversation.objects.open(application, Group(f"bench-{each}")) for each in range(CONVERSATIONS)]
    started = time.perf_counter()
    for start in range(0, number, BATCH):
        some = [talk.text(place % 2 == 0) for place in range(min(BATCH, number - start))]
        raws = [
            json.dumps(
                {
                    "type": "text",
                    "messageId": f"bench-{start + place}",
                    "timestamp": FIRST + (start + place) * APART,
                    "senderId": f"user-{talk.random.randrange(SENDERS)}",
                    "payload": {"text": text},
                },
                ensure_ascii=False,
            )
            for place, text in enumerate(some)
        ]
        ingest(groups[start // BATCH % CONVERSATIONS], raws)
        texts += map(normalise, some)
    print(f"  {number} messages archived, {number / (time.perf_counter() - started):.0f} a second, {BATCH} at a time")
    return texts


class Memory:
    """All texts in one string, with the start of each."""

    def __init__(self, texts: list[str]) -> None:
        self.all = "\n" + "\n".join(texts) + "\n"
        self.starts = list(accumulate((len(text) + 1 for text in texts), initial=1))

    def times(self, text: str) -> list[int]:
        """When the messages that hold the normalised `text` were sent (ms), the oldest first."""
        times, place = [], self.all.find(text)
        while place >= 0:
            number = bisect_right(self.starts, place) - 1
            times.append(FIRST + number * APART)
            place = self.all.find(text, self.starts[number + 1] - 1)
        return times


def sizes() -> tuple[int, int]:
    """Size of the texts and of the index, in bytes."""
    from django.db import connection

    from moderation.search.index import MESSAGES as GRAMS
    from moderation.search.index import TABLE

    is_sqlite = connection.vendor == "sqlite"
    length = "length(CAST(text AS BLOB))" if is_sqlite else "octet_length(text)"
    index = (
        f"SELECT sum(pgsize) FROM dbstat WHERE name LIKE '{GRAMS}%'"
        if is_sqlite
        else f"SELECT pg_relation_size('{GRAMS}')"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT sum({length}) FROM {TABLE}")  # noqa: S608 - no value
        text = cursor.fetchone()[0]
        cursor.execute(index)
        return int(text), int(cursor.fetchone()[0])


def like(compared: str) -> list[int]:
    """Keys of the messages that match by LIKE, which scans all of them."""
    from django.db import connection

    from moderation.search.index import TABLE

    escaped = compared.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    with connection.cursor() as cursor:
        statement = f"SELECT message_id FROM {TABLE} WHERE text LIKE %s ESCAPE '\\'"  # noqa: S608 - no value
        cursor.execute(statement, [f"%{escaped}%"])
        return [pk for (pk,) in cursor.fetchall()]


def sent(pks: list[int]) -> list[int]:
    """When these messages were sent, the oldest first."""
    from moderation.archive.models import Message
    from moderation.archive.rows import in_parts

    times = (Message.objects.filter(pk__in=some).values_list("timestamp", flat=True) for some in in_parts(pks))
    return sorted(timestamp for some in times for timestamp in some)


def kind_of(text: str) -> str:
    """The class of a search text, which decides the expected speed-up."""
    if len(text) > 1 and all(sign >= "\u2e80" for sign in text):
        return CHINESE
    return LATIN if len(text) > 3 and text.isascii() and text.isalpha() else OTHER


def searched(text: str, loosely: bool = False, before: int | None = None, limit: int = 10**6) -> list[int]:
    """Timestamps of matching messages before a time, the oldest first, collected page by page."""
    from moderation.archive.timeline import read_key
    from moderation.search import query

    times: list[int] = []
    key = None if before is None else (before, 0)
    while len(times) < limit:
        page = query.search(query.Wanted(text=text, loosely=loosely), before=key, limit=limit - len(times))
        times += [timestamp for timestamp, _pk in page.keys]
        if not page.older:
            break
        key = read_key(page.older)
    return times[::-1]


def same(text: str, loosely: bool, expected: list[int], rare: float) -> bool:
    """Whether the search returns the expected messages: all, or three thousand of those with a frequent text."""
    if len(expected) <= rare:
        return searched(text, loosely) == expected
    parts = (len(expected) - 1, len(expected) // 2, 1000)
    return all(
        searched(text, loosely, before=expected[end], limit=1000) == expected[max(0, end - 1000) : end]
        for end in parts
        if end < len(expected)
    )


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main(number: int, texts: int) -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    from moderation.search import index, query
    from moderation.search.normalise import normalise, squeeze

    print(f"{connection.vendor}: {number} messages, {texts} texts")
    talk = Talk()
    kept = fill(talk, number)
    talk.random.seed(11)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Autovacuum would do this in time.
            cursor.execute(f"VACUUM ANALYZE {index.TABLE}")
            cursor.execute(f"VACUUM ANALYZE {query.MESSAGES}")
    text_bytes, index_bytes = sizes()
    print(f"  text {text_bytes / 2**20:.1f} MiB · index {index_bytes / 2**20:.1f} MiB")
    memory, squeezed = Memory(kept), Memory([squeeze(text) for text in kept])
    different = 0
    pages: list[float] = []
    likes: dict[str, list[float]] = {CHINESE: [], LATIN: [], OTHER: []}
    for place in range(texts):
        if place % 1000 == 0:
            print(f"  {place} of {texts} texts", file=sys.stderr, flush=True)
        looked_for = talk.looked_for(kept)
        compared = normalise(looked_for)
        loosely = place % 4 == 0 and bool(squeeze(compared))
        expected = squeezed.times(squeeze(compared)) if loosely else memory.times(compared) if compared else []
        if not compared:
            continue
        different += not same(looked_for, loosely, expected, RARE * number)
        wanted = query.Wanted(text=looked_for, loosely=loosely)
        pages.append(timed(lambda: query.search(wanted)))  # noqa: B023 - called at once
        some = likes[kind_of(compared)]
        if not loosely and len(compared) > 1 and len(expected) < RARE * number and len(some) < LIKES:
            took = timed(lambda: searched(looked_for))  # noqa: B023 - called at once
            started = time.perf_counter()
            liked = like(compared)
            some.append((time.perf_counter() - started) / took)
            different += sent(liked) != expected
    pages.sort()
    print(
        f"  a page of 50: median {pages[len(pages) // 2] * 1000:.2f} ms, 99% within "
        f"{pages[len(pages) * 99 // 100] * 1000:.1f} ms, all within {pages[-1] * 1000:.0f} ms"
    )
    missed = different > 0
    print(f"  texts with other messages than a scan's: {different} of {texts} (wanted: none)")
    print(f"  LIKE ÷ search, all messages of {len(likes[OTHER])} {OTHER}: median {statistics.median(likes[OTHER]):.0f}")
    # With more messages the index is relatively smaller, and LIKE slower.
    for name, figure, sign, bound in [
        (f"LIKE ÷ search, {CHINESE}, in under 1% of messages, median", statistics.median(likes[CHINESE]), "≥", 100),
        (f"LIKE ÷ search, {LATIN}, in under 1% of messages, median", statistics.median(likes[LATIN]), "≥", 20),
        ("index ÷ text", index_bytes / text_bytes, "≤", 2),
    ]:
        is_within = figure <= bound if sign == "≤" else figure >= bound
        missed |= not is_within and number >= 1_000_000
        print(f"  {name}: {figure:.2f} (wanted at 1,000,000: {sign} {bound})")
    return int(missed)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        status = main(*(numbers + [100_000, 10_000][len(numbers) :]))
    sys.exit(status)
