"""How messages are shown, including hostile ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.archive.messages import read
from moderation.archive.messages.attachment import Attachment
from moderation.archive.messages.shown import Shown, Words
from moderation.archive.templatetags.payloads import initial, person, seconds, tone, visible

FILES = "https://files.example.com"


def message(kind: object, payload: object) -> str:
    return json.dumps({"type": kind, "payload": payload})


def image(**payload: Any) -> Shown:
    return read(message("image", payload), [FILES])


@pytest.mark.parametrize("payload", [{"text": "你好"}, "你好", '{"text": "你好"}', ' {"text": "你好", "more": 1}'])
def test_a_text_is_read_in_each_of_its_forms(payload: object) -> None:
    assert read(message("text", payload)) == Words("text", "你好")


def test_a_bare_string_that_only_looks_like_json_is_a_text() -> None:
    assert read(message("text", "{not json")) == Words("text", "{not json")


@pytest.mark.parametrize("payload", [{"text": 5}, {"txt": "a"}, [1, 2], None, 7, True])
def test_a_text_of_another_type_is_shown_as_json(payload: object) -> None:
    shown = read(message("text", payload))
    assert isinstance(shown, Words)
    assert shown.form == "json"
    assert json.loads(shown.text) == payload


@pytest.mark.parametrize("kind", ["order", "", None, 5, ["image"], {"a": 1}])
def test_a_type_of_the_app_s_own_is_formatted_json(kind: object) -> None:
    shown = read(message(kind, {"订单": 1}))
    assert shown == Words("json", '{\n  "订单": 1\n}')


def test_a_custom_payload_may_be_json_inside_a_string() -> None:
    assert read(message("order", '{"id": 1}')) == Words("json", '{\n  "id": 1\n}')
    assert read(message("order", "as it is")) == Words("text", "as it is")


def test_an_empty_message_was_erased() -> None:
    assert read("") == Words("erased", "Text erased on request")


@pytest.mark.parametrize("raw", ["nonsense", "[" * 100_000, '"\\ud800', "1" * 5000])
def test_invalid_json_is_shown_unchanged(raw: str) -> None:
    shown = read(raw)
    assert isinstance(shown, Words)
    assert raw.startswith(shown.text)
    assert shown.length == len(raw)


def test_a_message_without_a_payload_is_shown_whole() -> None:
    assert read('{"type": "text"}') == Words("json", '{\n  "type": "text"\n}')


def test_json_too_deep_to_lay_out_is_shown_as_it_is() -> None:
    raw = '{"type": "x", "payload": ' + "[" * 900 + "]" * 900 + "}"
    assert read(raw) == Words("text", "[" * 900 + "]" * 900)


def test_an_image_shows_its_name_and_size() -> None:
    shown = image(url=f"{FILES}/cat.png", name="cat.png", contentType="image/png", width=640, height=480, size=9)
    assert shown == Attachment(
        form="image",
        url=f"{FILES}/cat.png",
        name="cat.png",
        content_type="image/png",
        size=9,
        width=640,
        height=480,
        host="files.example.com",
        may_load=True,
    )


def test_a_video_s_address_is_one_level_down() -> None:
    payload = {"video": {"url": f"{FILES}/v.mp4", "duration": 65.4, "size": 5}, "thumbnail": {"url": "x"}}
    shown = read(message("video", payload), [FILES])
    assert isinstance(shown, Attachment)
    assert (shown.url, shown.duration, shown.size, shown.may_load) == (f"{FILES}/v.mp4", 65.4, 5, True)


def test_an_attachment_may_be_json_inside_a_string() -> None:
    assert isinstance(read(message("image", json.dumps({"url": f"{FILES}/a"}))), Attachment)


def test_a_file_is_never_shown_in_the_page() -> None:
    shown = read(message("file", {"url": f"{FILES}/a.html"}), [FILES])
    assert isinstance(shown, Attachment)
    assert (shown.may_load, shown.host) == (False, "files.example.com")


@pytest.mark.parametrize("payload", ["x", {}, {"url": ""}, {"url": 5}, {"url": {"a": 1}}, [], None])
def test_an_image_without_an_address_is_json(payload: object) -> None:
    assert isinstance(read(message("image", payload)), Words)


def test_invalid_figures_are_left_out() -> None:
    shown = image(url=FILES, name=["x"], contentType=7, width=True, height=-1, size="big", duration=float("inf"))
    assert shown == Attachment(form="image", url=FILES, host="files.example.com", may_load=True)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,<script>",
        "//files.example.com/a",
        "file:///etc/passwd",
        "https://files.example.com\\@elsewhere.example/a",
        "https://files.example.com@elsewhere.example/a",
        "https://user:secret@files.example.com/a",
        "https://files.example.com:99999/a",
        "https://files.example.com/\u202egnp.exe",
        "https://files.example.com/a\tb",
        "https://files .example.com/a",
        "https://files.example.com @elsewhere.example/a",
        "https:///a",
        "https://",
        "https://files.example.com/".ljust(2_001, "a"),
    ],
    ids=lambda url: url[:60],
)
def test_an_address_that_a_browser_might_read_differently_or_that_is_very_long_is_only_text(url: str) -> None:
    shown = image(url=url)
    assert isinstance(shown, Attachment)
    assert (shown.host, shown.may_load, shown.url) == ("", False, url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://files.example.com/a", "files.example.com"),
        ("https://files.example.com.evil.example/a", "files.example.com.evil.example"),
        ("https://files.example.com:8443/a", "files.example.com:8443"),
    ],
)
def test_another_origin_is_linked_and_not_loaded(url: str, host: str) -> None:
    shown = image(url=url)
    assert isinstance(shown, Attachment)
    assert (shown.host, shown.may_load) == (host, False)


@pytest.mark.parametrize("url", ["https://files.example.com:443/a", "HTTPS://Files.Example.COM/a"])
def test_one_origin_may_be_written_in_several_ways(url: str) -> None:
    shown = image(url=url)
    assert isinstance(shown, Attachment)
    assert shown.may_load


def test_long_words_are_folded_and_very_long_ones_cut() -> None:
    assert Words("text", "short").head == ""
    assert Words("text", "x" * 601).head == "x" * 600
    assert Words("text", "line\n" * 30).head.count("\n") == 11
    shown = read(message("text", {"text": "x" * 100_000}))
    assert isinstance(shown, Words)
    assert (len(shown.text), shown.length) == (12_000, 100_000)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "url", "video", "size"]), inner)
    ),
    max_leaves=12,
)


@given(ANYTHING, st.sampled_from(["text", "image", "audio", "video", "file", "order", None]))
def test_whatever_is_sent_something_is_shown(payload: object, kind: object) -> None:
    shown = read(message(kind, payload), [FILES])
    assert shown.line() is not None
    str(visible(shown.text if isinstance(shown, Words) else shown.url)).encode()


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_whatever_is_written_can_be_sent_and_nothing_hides_in_it(text: str) -> None:
    shown = str(visible(text))
    shown.encode()
    assert not set(shown) & set("\u202e\u202d\u2066\u200b\ufeff\x00\x1b")


def test_markup_is_text() -> None:
    assert visible("<img src=x onerror=alert(1)>") == "&lt;img src=x onerror=alert(1)&gt;"


def test_marks_that_turn_the_text_are_written_out() -> None:
    assert visible("a\u202eb") == 'a<span class="mark" title="right-to-left override">U+202E</span>b'


def test_many_of_one_mark_are_counted() -> None:
    assert visible("\u200b" * 900) == '<span class="mark" title="zero width space">U+200B ×900</span>'


def test_half_a_surrogate_pair_can_be_shown() -> None:
    assert "U+D83D" in visible(json.loads('"\\ud83d"'))


@pytest.mark.parametrize("text", ["👨‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "می‌خواهم", "a\tb\nc", "汉字"])
def test_characters_that_a_script_needs_are_left_unchanged(text: str) -> None:
    assert visible(text) == text


def test_an_excerpt_is_one_line() -> None:
    assert Words("text", "a\n  b" + "c" * 200).line(10) == "a bcccccc…"
    assert Attachment("image", FILES, name="cat.png").line() == "[image] cat.png"


@pytest.mark.parametrize(
    ("recaller", "expected"),
    [
        ({"id": "s1", "data": {"name": "Support"}}, "Support · s1"),
        ({"id": "s1"}, "s1"),
        ({"id": "same", "data": {"name": "same"}}, "same"),
        ({"id": 5, "data": "x"}, "5"),
        ({"id": "s1", "data": '{"name": "Support"}'}, "Support · s1"),
        ({"id": [5], "data": "x"}, '{"id": [5], "data": "x"}'),
        ("odd", '"odd"'),
    ],
)
def test_a_recaller_is_shown_by_name_and_id(recaller: object, expected: str) -> None:
    assert person(recaller) == expected


def test_a_sender_has_a_letter_and_a_colour_that_stay() -> None:
    assert [initial(name) for name in ("ada", "🙂王", "", "«x»")] == ["A", "王", "?", "X"]
    assert tone("ada") == tone("ada")
    assert {tone(f"user-{number}") for number in range(100)} == set(range(8))


def test_a_duration_is_minutes_and_seconds() -> None:
    assert [seconds(value) for value in (0, 5.4, 65, 3600)] == ["0:00", "0:05", "1:05", "60:00"]


@pytest.mark.parametrize(
    ("payload", "headline"),
    [
        ({"id": 1, "name": "夏季 T 恤"}, "夏季 T 恤"),
        ({"content": "c", "title": "t", "name": "n", "text": "x"}, "x"),
        ({"title": " ", "content": "c"}, "c"),
        ('{"title": "in a string"}', "in a string"),
    ],
    ids=str,
)
def test_a_type_of_the_app_s_own_shows_what_is_to_be_read_first(payload: object, headline: str) -> None:
    shown = read(message("order", payload))
    assert isinstance(shown, Words)
    assert (shown.form, shown.text, shown.line()) == ("text", headline, headline)
    assert shown.whole
    assert shown.whole.form == "json"
    assert shown.searchable == shown.whole.text, "all of it can be searched"


@pytest.mark.parametrize("payload", [{"name": 5}, {"name": {"a": 1}}, {"title": ""}, ["name"]], ids=str)
def test_a_type_without_words_of_its_own_is_formatted_json(payload: object) -> None:
    shown = read(message("order", payload))
    assert isinstance(shown, Words)
    assert (shown.form, shown.whole) == ("json", None)


@pytest.mark.parametrize("size", [1048576, 1048576.0, "1048576", "1048576.0"])
def test_a_size_is_read_in_each_of_its_forms(size: object) -> None:
    shown = image(url=FILES, size=size, width="640", height=480.0, duration="2.5")
    assert isinstance(shown, Attachment)
    assert (shown.size, shown.width, shown.height, shown.duration) == (1048576, 640, 480, 2.5)


def test_an_address_with_spaces_is_linked_as_a_browser_would_send_it() -> None:
    shown = image(url=f" {FILES}/报价单 2026.xlsx ")
    assert isinstance(shown, Attachment)
    assert (shown.href, shown.may_load) == (f"{FILES}/报价单%202026.xlsx", True)


def test_a_video_may_be_json_inside_a_string() -> None:
    shown = read(message("video", {"video": json.dumps({"url": f"{FILES}/v.mp4", "size": 5})}), [FILES])
    assert isinstance(shown, Attachment)
    assert (shown.url, shown.size) == (f"{FILES}/v.mp4", 5)


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": ""}, {"payload": {}}], ids=str)
@pytest.mark.parametrize("mark", [{"recalled": True}, {"recalled": "true"}, {"recaller": {"id": "u"}}], ids=str)
def test_a_recalled_message_without_its_text_is_not_shown_as_json(
    mark: dict[str, Any], payload: dict[str, Any]
) -> None:
    shown = read(json.dumps({"type": "text", "timestamp": 1, **mark, **payload}))
    assert isinstance(shown, Words)
    assert shown.form == "unknown"
