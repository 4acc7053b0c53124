"""Searching: the matches equal LIKE's over the normalised text; and filters."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderation.archive.ingest import ingest
from moderation.archive.models import Conversation, Message
from moderation.archive.retention import delete_older
from moderation.archive.timeline import read_key
from moderation.search import grams, index, query
from moderation.search.models import SearchProgress, SearchText
from moderation.search.normalise import RULES, VERSION, normalise, squeeze
from moderation.search.query import Wanted

pytestmark = pytest.mark.django_db

FIRST = 1_700_000_000_000
# Few, so that what is looked for is often there: what SQL, FTS5 and tsquery make something of, and what Unicode does.
SIGNS = "aAbBß%_\\'\"*:&|!() \n\x00\x07你好微信加ａ①é\u0301\u3099カが한\u1100\u1161🎉👨\u200d👩İıſ\u2028\ue021ﬁ\ud800"
WORDS = st.text(st.sampled_from(SIGNS), min_size=1, max_size=12) | st.text(min_size=1, max_size=12)

# The tests empty the archive themselves.
EACH_BEGINS_EMPTY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(conversation: Conversation, *texts: str, at: int = FIRST, **fields: Any) -> None:
    """Messages with these texts, a millisecond apart."""
    ingest(
        conversation,
        [
            json.dumps(
                {
                    "type": "text",
                    "messageId": f"m{at + number}",
                    "timestamp": at + number,
                    "senderId": "user-a",
                    "payload": {"text": text},
                    **fields,
                }
            )
            for number, text in enumerate(texts)
        ],
    )


def matches(text: str = "", *, limit: int = 50, **wanted: Any) -> list[Message]:
    """All matches, page after page."""
    messages: list[Message] = []
    before = None
    while True:
        page = query.search(Wanted(text=text, **wanted), before=before, limit=limit)
        messages += page.messages()
        if not page.older:
            return messages
        before = read_key(page.older)


def like(text: str, column: str = "text") -> set[int]:
    """Ids that LIKE matches over the normalised text, wildcards escaped."""
    pattern = (
        (normalise(text) if column == "text" else squeeze(normalise(text)))
        .replace("\\", "\\\\")
        .replace("%", "\\%")
        .replace("_", "\\_")
    )
    with connection.cursor() as cursor:
        statement = rf"SELECT message_id FROM search_searchtext WHERE {column} LIKE %s ESCAPE '\'"  # noqa: S608
        cursor.execute(statement, [f"%{pattern}%"])
        return {pk for (pk,) in cursor.fetchall()}


@EACH_BEGINS_EMPTY
@given(
    texts=st.lists(WORDS, min_size=1, max_size=8), looked_for=WORDS, cut=st.tuples(st.integers(0), st.integers(1, 6))
)
def test_a_search_matches_exactly_what_like_matches(
    group: Conversation, texts: list[str], looked_for: str, cut: tuple[int, int]
) -> None:
    Message.objects.all().delete()
    write(group, *texts)
    assert SearchText.objects.count() == len(texts)
    start = cut[0] % len(texts[0])
    for text in (looked_for, texts[0], texts[0][start : start + cut[1]], looked_for[0]):
        pks = [message.pk for message in matches(text, limit=3)]
        assert set(pks) == like(text)
        assert len(pks) == len(set(pks))
        if squeeze(normalise(text)):
            assert {message.pk for message in matches(text, limit=3, loosely=True)} == like(text, "words")


@EACH_BEGINS_EMPTY
@given(texts=st.lists(WORDS, min_size=1, max_size=8))
def test_every_part_of_a_text_finds_it_by_the_index_alone(group: Conversation, texts: list[str]) -> None:
    Message.objects.all().delete()
    write(group, *texts)
    for row in SearchText.objects.all():
        for start in range(len(row.text)):
            for end in range(start + 1, len(row.text) + 1):
                part = normalise(row.text[start:end])
                # White space is not in the index. SQLite's index still knows those of earlier examples.
                if part and not part.isspace():
                    assert row.pk in query.candidates_for(part, 100_000)
                    assert row.pk in query.candidates_for(part, 100_000, loosely=True)


def test_the_index_alone_matches_every_character(group: Conversation) -> None:
    # All that the index tells apart of a first character, in Chinese: one of them (蚀) was a space to PostgreSQL.
    signs = [chr(0x8000 + number) for number in range(4096)]
    write(group, *(f"{sign}的" for sign in signs))
    pks = dict(zip(signs, SearchText.objects.order_by("pk").values_list("pk", flat=True), strict=True))
    lost = [sign for sign in signs if pks[sign] not in query.candidates_for(f"{sign}的", 5000)]
    lost += [sign for sign in signs if pks[sign] not in query.candidates_for(sign, 5000)]
    assert not lost


def test_pairs_of_characters_that_are_not_adjacent_do_not_match(group: Conversation) -> None:
    write(group, "abc bcd", "abcd")
    assert [message.data["payload"]["text"] for message in matches("abcd")] == ["abcd"]


@pytest.mark.parametrize(
    ("text", "looked_for"),
    [
        ("加我微信领红包", "微信"),
        ("加我微信领红包", "包"),
        ("ＷｅＣｈａｔ", "wechat"),
        ("STRASSE", "straße"),
        ("cafe\u0301", "café"),
        ("①②", "12"),
        ("50% off", "0% o"),
        ("a_b", "_"),
        (r"C:\temp", "\\t"),
        ("it's", "'s"),
        ('say "hi"', '"hi'),
        ("line one\nline two", "one\nline"),
        ("👨\u200d👩\u200d👧", "👩"),
    ],
)
def test_words_match(group: Conversation, text: str, looked_for: str) -> None:
    write(group, text, "something else")
    assert len(matches(looked_for)) == 1


INVISIBLE = [
    "\u200b",
    "\u2060",
    "\u200d",
    "\ufe0f",
    "\u034f",
    "\u0301",
    "\U000e0041\U000e0042",
    "\u3164",
    "\u0336",
    "\x07",
]


@pytest.mark.parametrize("between", [*INVISIBLE, "\x07", "\u0e31", "\u20dd", "\u180e\u2063"])
@pytest.mark.parametrize(("word", "looked_for"), [("微{}信", "微信"), ("weq{}hat", "WeQhat"), ("微{}信", "微{}信")])
def test_nothing_invisible_hides_a_word(group: Conversation, between: str, word: str, looked_for: str) -> None:
    write(group, f"加我{word.format(between)}", "something else")
    assert len(matches(looked_for.format(between))) == 1


@pytest.mark.parametrize("between", [" ", ".", "\u3000", "·", "*", "🎉", "\n", "\u2800", "。 。"])
def test_spaces_and_signs_are_ignored_on_request(group: Conversation, between: str) -> None:
    write(group, f"加我微{between}信", f"add we{between}chat", "微博信")
    for looked_for in ("微信", f"微{between}信", "微 信"):
        assert len(matches(looked_for, loosely=True)) == 1
    assert len(matches("WE CHAT", loosely=True)) == 1
    assert matches("微信") == matches("wechat") == []
    # Of signs alone nothing would be left: they are searched for as they are.
    assert len(matches("·", loosely=True)) == len(matches("·"))


@pytest.mark.parametrize(("text", "looked_for"), [("加我微信領紅包", "领红包"), ("领红包", "領紅包"), ("薴", "苧")])
def test_traditional_and_simplified_chinese_are_one(group: Conversation, text: str, looked_for: str) -> None:
    write(group, text)
    assert len(matches(looked_for)) == 1


@pytest.mark.parametrize(("text", "looked_for"), [("axb", "a_b"), ("500", "50%"), ("a b", "ab"), ("微博信", "微信")])
def test_wildcards_are_taken_literally(group: Conversation, text: str, looked_for: str) -> None:
    write(group, text)
    assert matches(looked_for) == []


@pytest.mark.parametrize(
    ("fields", "looked_for"),
    [
        ({"type": "image", "payload": {"url": "https://x.example/a.png", "name": "猫.png"}}, "猫"),
        ({"type": "image", "payload": {"url": "https://x.example/a.png", "name": "猫.png"}}, "x.example"),
        ({"type": "order", "payload": {"goods": ["雨伞"], "price": 12}}, "雨伞"),
        ({"payload": '{"text":"你好"}'}, "你好"),
        ({"payload": "bare words"}, "bare"),
    ],
)
def test_a_message_of_any_type_matches_by_its_shown_text(
    group: Conversation, fields: dict[str, Any], looked_for: str
) -> None:
    write(group, "", **fields)
    assert len(matches(looked_for)) == 1


def test_the_newest_come_first_and_pages_follow_without_gap_or_repetition(group: Conversation) -> None:
    texts = [f"offer {number}" for number in range(30)]
    # History brings the older ones later; three share each millisecond.
    for numbers in (range(15, 30), range(15)):
        for number in numbers:
            write(group, texts[number], at=FIRST + number // 3, messageId=f"n{number}")
    assert len(matches("offer", limit=4)) == 30
    keys = [(message.timestamp, message.pk) for message in matches("offer", limit=4)]
    assert keys == sorted(keys, reverse=True)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lower the limits, so that a few messages count as many."""
    monkeypatch.setattr(query, "FEW_CANDIDATES", 3)
    monkeypatch.setattr(query, "MAX_CANDIDATES", 12)
    monkeypatch.setattr(query, "PARTS", (2, 4))
    yield


@pytest.mark.parametrize("looked_for", ["offer", "er 1", "9", "o", "", "nothing of that"])
def test_frequent_text_is_searched_back_page_by_page(group: Conversation, few: None, looked_for: str) -> None:
    write(group, *(f"offer {number}" for number in range(25)))
    pks = [message.pk for message in matches(looked_for, limit=2)]
    assert set(pks) == (like(looked_for) if looked_for else set(Message.objects.values_list("pk", flat=True)))
    assert pks == sorted(pks, reverse=True)


def test_a_page_that_ends_for_the_time_it_took_says_how_far_it_looked_back(group: Conversation, few: None) -> None:
    write(group, *["ab ba"] * 20)
    page = query.search(Wanted(text="abba"))
    assert (page.keys, page.looked_back_to) == ([], FIRST + 14)
    assert page.older.startswith(f"{FIRST + 14}-")


def test_filters_narrow_alone_and_together(
    group: Conversation, private: Conversation, make_message: Callable[..., Any]
) -> None:
    write(group, "red offer", at=FIRST)
    write(group, "red flag", at=FIRST + 1, senderId="user-b", recalled=True)
    write(private, "red offer", at=FIRST + 2)
    write(private, "", at=FIRST + 3, type="image", payload={"url": "https://x.example/red.png"})

    def times(text: str = "", **wanted: Any) -> list[int]:
        return [message.timestamp - FIRST for message in matches(text, **wanted)]

    for text in ("", "red", "e"):
        assert times(text) == [3, 2, 1, 0]
        assert times(text, senders=["user-b"]) == [1]
        assert times(text, senders=["user-b", "user-a", "nobody"]) == [3, 2, 1, 0]
        assert times(text, conversations=[group.pk]) == [1, 0]
        assert times(text, kinds=["private"]) == [3, 2]
        assert times(text, applications=[group.application_id]) == [3, 2, 1, 0]
        assert times(text, types=["image"]) == [3]
        assert times(text, recalled=True) == [1]
        assert times(text, recalled=False) == [3, 2, 0]
        assert times(text, since=FIRST + 1, until=FIRST + 2) == [2, 1]
    assert times("offer", senders=["user-a"], conversations=[group.pk, private.pk], since=FIRST + 1) == [2]


def test_a_message_that_arrives_after_its_recall_matches_by_its_own_text(group: Conversation) -> None:
    write(group, "", recalled=True, payload=None)
    write(group, "what was said")
    assert len(matches("was said")) == 1
    assert SearchText.objects.get().text == "what was said"
    if connection.vendor == "sqlite":
        # The index knows nothing of what it knew before: a piece of an erased text must not stay in it.
        with connection.cursor() as cursor:
            cursor.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab('main', 'search_searchgrams', 'row')")
            cursor.execute("SELECT term FROM temp.terms")
            terms = {term for (term,) in cursor.fetchall()}
            cursor.execute("DROP TABLE temp.terms")
        assert terms == grams.grams_of("whatwassaid")
    # In one go, too.
    mark = {"type": "text", "messageId": "m2", "timestamp": FIRST + 9, "senderId": "u", "recalled": True}
    said = {**mark, "recalled": False, "payload": {"text": "in one go"}}
    ingest(group, [json.dumps(mark), json.dumps(said)])
    assert len(matches("in one go")) == 1


def test_existing_messages_become_searchable_in_batches(group: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    write(group, *(f"offer {number}" for number in range(10)))
    SearchText.objects.all().delete()
    newest = Message.objects.latest("pk").pk
    SearchProgress.objects.update_or_create(pk=1, defaults={"done": newest - 10, "older": newest, "rules": VERSION})
    write(group, "offer of today", at=FIRST + 100)
    monkeypatch.setattr(index, "PIECE", 4)
    state = index.progress()
    assert state is not None
    assert index.add_older(1) == 4
    assert index.progress() is not None
    assert len(matches("offer")) == 5
    assert index.add_older() == 6
    assert index.progress() is None
    assert len(matches("offer")) == 11
    assert index.add_older() == 0


def test_new_rules_index_all_messages_anew_and_the_worker_goes_on_where_it_was(
    group: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "PIECE", 4)
    write(group, *(f"加我微\u200b信 {number}" for number in range(10)))
    index.add_older()
    assert index.progress() is None
    # As the rules before these had it.
    SearchText.objects.update(text="加我微\u200b信", words="加我微\u200b信", rules=VERSION - 1)
    SearchProgress.objects.update(rules=VERSION - 1)
    state = index.progress()
    assert state is not None and state.percent == 0
    assert matches("微信") == []
    assert index.add_older(1) == 4
    state = index.progress()
    assert state is not None and 0 < state.percent < 100
    # A message of these rules comes meanwhile.
    write(group, "加我微信", at=FIRST + 100)
    assert index.add_older() == 6
    assert index.progress() is None
    assert len(matches("微信")) == 11
    assert set(SearchText.objects.values_list("rules", flat=True)) == {VERSION}
    assert index.add_older() == 0


def test_a_fresh_archive_has_nothing_to_index_anew(group: Conversation) -> None:
    SearchProgress.objects.update(rules=0, done=0, older=0)
    assert index.progress() is None
    write(group, "of these rules")
    assert index.progress() is None
    assert index.add_older() == 0
    assert index.progress() is None


def test_simplified_forms_change_with_the_rules_only() -> None:
    # They come from a library. When another version of it says otherwise, raise normalise.RULES, and change this.
    forms = "".join(map(normalise, map(chr, range(0x4E00, 0x9FA6))))
    assert (RULES, sha256(forms.encode()).hexdigest()[:16]) == (2, "29f35fa4336bc079")


def test_a_deleted_message_leaves_nothing_in_the_index(group: Conversation) -> None:
    write(group, "a red offer", "a blue offer")
    old, new = Message.objects.order_by("pk").values_list("pk", flat=True)
    assert delete_older(group.pk, FIRST + 1) == 1
    assert [message.pk for message in matches("offer")] == [new]
    if connection.vendor == "sqlite":
        assert query.candidates_for("red", 100) == []
        assert query.candidates_for("offer", 100) == [new]


def test_a_search_takes_few_statements_whatever_the_number_of_matches(group: Conversation) -> None:
    write(group, *(f"offer {number}" for number in range(40)))
    for text in ("offer", "o", ""):
        with CaptureQueriesContext(connection) as queries:
            query.search(Wanted(text=text))
        assert len(queries) <= 5


def test_postgresql_asks_the_index_even_about_what_is_frequent(group: Conversation) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no other way to answer")
    write(group, *(f"offer {number}" for number in range(500)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE search_searchtext")
        cursor.execute("SELECT pg_stat_get_xact_numscans(%s::regclass)", [index.MESSAGES])
        (before,) = cursor.fetchone()
        assert len(query.candidates_for("o", 400)) == 400
        cursor.execute("SELECT pg_stat_get_xact_numscans(%s::regclass)", [index.MESSAGES])
        assert cursor.fetchone() == (before + 1,)


@EACH_BEGINS_EMPTY
@given(text=WORDS | st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert squeeze(squeeze(once)) == squeeze(once)


@given(first=WORDS, second=WORDS)
def test_a_part_of_a_text_is_a_part_of_it_without_signs(first: str, second: str) -> None:
    assert squeeze(first + second) == squeeze(first) + squeeze(second)


@pytest.mark.parametrize("looked_for", ["ᄀ", "ᄀ:", "ᅡ", "ᄀ:ᅡ", "abᄀ"])
def test_letters_of_a_syllable_with_a_sign_between_match_one_by_one(group: Conversation, looked_for: str) -> None:
    write(group, "abᄀ:ᅡ")
    assert [message.timestamp for message in matches(looked_for)] == [FIRST]
    assert [message.timestamp for message in matches(looked_for, loosely=True)] == [FIRST]
    assert not matches("가") and not matches("가", loosely=True)


def test_normalising_makes_forms_of_a_character_one() -> None:
    for text in ("ＡＢＣ", "abc", "ABC"):
        assert normalise(text) == "abc"
    assert normalise(unicodedata.normalize("NFD", "é")) == normalise("É")
