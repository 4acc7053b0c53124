"""Properties of the GoEasy client that hold for every input."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.goeasy.answers import history_elements, judge, parse_answer, parse_retry_after
from moderation.goeasy.client import (
    MASK,
    MAX_RECALLER_DATA_BYTES,
    Answer,
    Client,
    Group,
    HistoryPage,
    Private,
    Recaller,
    base_url,
    check_timestamps,
    prepare_recall,
    timestamp_problem,
)
from moderation.goeasy.errors import InvalidCall, NoAnswer, Refused, Unclear

KEY = "BC-0123456789abcdef"
NOW = 1_700_000_000_000
DAY = 86_400_000

anything = st.text(st.characters())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4),
    max_leaves=12,
)
codes = st.sampled_from([200, 401, "200", "401", 0, -1, True, None, 200.0, "２００", "", 10**30]) | st.integers()
objects = st.fixed_dictionaries({}, optional={"code": codes, "content": json_values})


def encoded(value: object, **options: Any) -> bytes:
    return json.dumps(value, **options).encode("utf-8", "replace")


bodies = st.one_of(
    st.binary(),
    json_values.map(encoded),
    objects.map(encoded),
    objects.map(lambda value: encoded(value, ensure_ascii=False)),
    objects.map(encoded).flatmap(lambda body: st.integers(0, len(body)).map(lambda end: body[:end])),
    st.sampled_from([b"[" * 100_000, b'{"code":' + b"9" * 5_000 + b"}", b'{"code":200,"content":' + b"[" * 2_000]),
)


@given(st.integers(100, 999), bodies)
def test_any_answer_is_parsed_and_judged_without_an_exception(status: int, body: bytes):
    answer = parse_answer(status, body, latency_ms=1, appkey=KEY)

    assert answer.http_status == status
    assert answer.is_malformed == (answer.code is None)
    assert answer.code is None or (isinstance(answer.code, int) and abs(answer.code) < 10**9)
    assert len(answer.content) <= 2_000
    assert "\x00" not in answer.content
    answer.content.encode("utf-8")
    problem = judge(answer)
    if answer.code == 200:
        assert problem is None
    elif answer.code is not None:
        # GoEasy's own failures do not tell whether it acted.
        assert isinstance(problem, Unclear if answer.code == 408 or answer.code >= 500 else Refused)
    else:
        assert isinstance(problem, (Refused, Unclear))
        assert isinstance(problem, Refused) == ((400 <= status < 500 and status != 408) or status == 503)


@given(codes, json_values)
def test_an_integer_code_is_read(code: Any, content: Any):
    answer = parse_answer(500, encoded({"code": code, "content": content}), latency_ms=1)

    whole = isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9
    if whole or code in ("200", "401"):
        assert answer.code == int(code)
        if isinstance(content, str) and content.isascii() and content.isprintable():
            assert answer.content == content[:2_000]
    else:
        assert answer.code is None


@given(st.integers(0, 5_000), anything, st.booleans())
def test_an_echoed_key_is_masked_anywhere(place: int, tail: str, as_json: bool):
    text = "x" * place + KEY + tail
    body = encoded({"code": 400, "content": text}) if as_json else text.encode("utf-8", "replace")

    assert KEY[:8] not in parse_answer(400, body, latency_ms=1, appkey=KEY).content


@given(st.lists(json_values, max_size=6), json_values, st.data())
def test_raw_elements_are_slices_of_the_answer(elements: list[Any], other: Any, data: st.DataObject):
    text = json.dumps(
        {"before": other, "content": elements, "after": {"content": [other]}},
        indent=data.draw(st.sampled_from([None, 0, 2, "\t"])),
        ensure_ascii=data.draw(st.booleans()),
        separators=data.draw(st.sampled_from([(",", ":"), (" , ", " : "), ("\r\n,", ":\n")])),
    )
    elements_read = history_elements(text)

    assert elements_read is not None
    raws = [raw for raw, _value in elements_read]
    assert encoded(json.loads("[" + ",".join(raws) + "]")) == encoded(json.loads(text)["content"])
    assert [encoded(value) for _raw, value in elements_read] == [encoded(json.loads(raw)) for raw in raws]
    at = 0
    for raw in raws:
        at = text.index(raw, at) + len(raw)


@given(bodies)
def test_the_elements_are_those_that_json_reads(body: bytes):
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text).get("content")
    except (ValueError, RecursionError, AttributeError):
        content = None

    elements_read = history_elements(text)

    if isinstance(content, list):
        assert elements_read is not None
        assert encoded([value for _raw, value in elements_read]) == encoded(content)
    else:
        assert elements_read is None


@pytest.mark.parametrize(
    "element",
    [
        "[" * 300_000 + "]" * 300_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"payload":' + "[" * 101 + '"]"' + "]" * 101 + "}",
    ],
    ids=["array", "object", "payload"],
)
def test_a_deeply_nested_element_affects_no_other(element: str):
    elements_read = history_elements(f'{{"code":200,"content":[{{"timestamp":1}}, {element} ,{{"timestamp":2}}]}}')

    assert elements_read is not None
    assert [raw for raw, _value in elements_read] == ['{"timestamp":1}', element, '{"timestamp":2}']
    assert [value for _raw, value in elements_read][::2] == [{"timestamp": 1}, {"timestamp": 2}]


@pytest.mark.parametrize(
    "text",
    [
        '{"content":[' + '{"a":"' + '\\"' * 400_000,
        '{"content":[' + "[" * 400_000,
        '{"content":[1,]}',
        '{"content":[1 2]}',
        '{"content":[1]} x',
        "{" * 100_000,
        '{"content":[[' + "[}" * 200 + "]]}",
    ],
    ids=["string", "brackets", "comma", "no comma", "more", "names", "crossed"],
)
def test_invalid_json_has_no_elements(text: str):
    # Rescanning from each quote would take hours.
    assert history_elements(text) is None


timestamps = st.integers(NOW - 10**11, NOW + DAY)
no_timestamps = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    anything,
    st.integers(max_value=10**12 - 1),
    st.integers(min_value=NOW + DAY + 1),
    st.just(10**6_000),
)


@given(st.lists(timestamps, min_size=1, max_size=20, unique=True))
def test_valid_timestamps_pass_unchanged_and_in_order(values: list[int]):
    assert check_timestamps(iter(values), now_ms=NOW) == tuple(values)


@given(st.lists(timestamps, max_size=19, unique=True), no_timestamps, st.randoms(use_true_random=False))
def test_one_invalid_timestamp_is_refused(values: list[int], bad: object, random: Any):
    mixed: list[object] = [*values, bad]
    random.shuffle(mixed)

    assert timestamp_problem(bad, now_ms=NOW) is not None
    with pytest.raises(InvalidCall) as refused:
        check_timestamps(mixed, now_ms=NOW)
    assert refused.value.field == "messages"


@given(st.lists(timestamps, min_size=1, max_size=19, unique=True), st.data())
def test_a_repeated_timestamp_is_refused(values: list[int], data: st.DataObject):
    with pytest.raises(InvalidCall, match="twice"):
        check_timestamps([*values, data.draw(st.sampled_from(values))], now_ms=NOW)


@given(st.integers(1, 40), st.integers(1, 40))
def test_timestamps_over_the_limit_are_refused(count: int, limit: int):
    values = range(NOW, NOW + count)
    if count <= limit:
        assert len(check_timestamps(values, now_ms=NOW, limit=limit)) == count
    else:
        with pytest.raises(InvalidCall):
            check_timestamps(values, now_ms=NOW, limit=limit)


@given(anything, st.none() | json_values)
def test_a_recaller_is_refused_or_within_the_limits(recaller_id: str, data: Any):
    try:
        field = Recaller(recaller_id, data).as_field()
    except InvalidCall as refused:
        assert refused.field in {"recaller.id", "recaller.data"}
        return
    assert data is None or isinstance(data, dict)
    if not recaller_id and not data:
        assert field is None
        return
    assert field is not None
    assert field.get("id", "") == recaller_id
    assert ("data" in field) == bool(data)
    wire = json.dumps(field.get("data"), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    assert len(wire) <= MAX_RECALLER_DATA_BYTES
    assert b"\x00" not in wire


ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8)


@given(
    st.builds(Private, ids, ids) | st.builds(Group, ids),
    st.lists(timestamps, min_size=1, max_size=20, unique=True),
    st.none() | st.builds(Recaller, st.sampled_from(["", "Support"]), st.sampled_from([None, {}, {"name": "监督"}])),
)
def test_a_recall_body_has_exactly_the_documented_fields(target: Any, values: list[int], recaller: Any):
    prepared = prepare_recall(target=target, timestamps=values, recaller=recaller)
    body = json.loads(prepared.content(KEY))

    said = [] if recaller is None or recaller.as_field() is None else ["recaller"]
    whose = ["groupId"] if isinstance(target, Group) else ["userAId", "userBId"]
    assert list(body) == ["appkey", *said, *whose, "messages"]
    assert prepared.shown(KEY) == {**body, "appkey": "BC-" + MASK}
    # Nothing but the key differs between what is kept and what is sent.
    assert prepared.body.replace(f'"{MASK}"', f'"{KEY}"', 1).encode() == prepared.content(KEY)


@given(anything)
def test_a_retry_after_is_seconds_or_none(value: str):
    seconds = parse_retry_after(value)
    assert seconds is None or 0 <= seconds < 10**12


@given(anything | st.sampled_from(["hangzhou", "a.b", "http://[::1]:80/x/", "http://h:99999", "https://u:p@h.example"]))
def test_a_base_url_is_refused_or_usable(value: str):
    try:
        url = base_url(value)
    except ValueError:
        return
    assert url.startswith(("http://", "https://")) or url.lower().startswith(("http://", "https://"))
    assert url.isascii()
    assert not set(url) & set("?#@ ")
    assert base_url(url) == url


class FixedServer:
    """Server that sends the same bytes to every client and closes the connection."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer = b""
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(2)
                connection.recv(65536)
                connection.sendall(self.answer)


@pytest.fixture(scope="module")
def fixed_server() -> Iterator[FixedServer]:
    fixed_server = FixedServer()
    yield fixed_server
    fixed_server.listener.close()


lines = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 401 x\r\n", b"HTTP/1.0 502\r\n", b"HTTP/1.1 302 F\r\n", b"HTTP/9 2\r\n"]
)
headers = st.lists(
    st.sampled_from(
        [
            b"Content-Length: 5\r\n",
            b"Content-Length: 5, 6\r\n",
            b"Content-Length: -1\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Encoding: gzip\r\n",
            b"Content-Encoding: deflate, gzip\r\n",
            b"Location: http://[/\r\n",
            b"Retry-After: Wed, 99 Foo 99999\r\n",
            b"Set-Cookie: a=b\r\n",
            b"no header\r\n",
        ]
    )
    | st.binary(max_size=12).map(lambda line: line + b"\r\n"),
    max_size=3,
).map(b"".join)
chunked = st.binary(max_size=8).map(lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))


@given(
    st.binary(max_size=64) | st.tuples(lines, headers, st.just(b"\r\n"), bodies | chunked).map(b"".join),
    st.booleans(),
)
def test_any_response_becomes_an_answer_or_a_known_error(fixed_server: FixedServer, answer: bytes, reads: bool):
    fixed_server.answer = answer
    with Client(appkey=KEY, rest_host=fixed_server.url, connect_timeout=2, read_timeout=2) as client:
        try:
            result: Answer | HistoryPage = (
                client.history(target=Group("g")) if reads else client.recall(target=Group("g"), timestamps=[NOW])
            )
        except (Refused, NoAnswer) as error:
            # The request left, so no error may be a NotSent.
            assert error.latency_ms is not None
            assert KEY not in str(error)
        else:
            assert (result if isinstance(result, Answer) else result.answer).accepted
