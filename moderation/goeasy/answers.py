"""What GoEasy answers, and what it tells of the effect.

The body's `code` decides when there is one, whatever the HTTP status (goeasy-api.md, "Recall": the two may
differ). Without a code the status decides, and only where it tells something. Of a call answered with 408 (time-out)
or with 500 and above nobody knows whether it had an effect: a 408 was seen after the messages were gone.

| what came                                             | becomes                                     |
|-------------------------------------------------------|---------------------------------------------|
| a JSON object with code 200, any status               | `Answer`                                    |
| a JSON object with code 408, or 500 and above         | `Unclear`: it failed, perhaps after acting  |
| a JSON object with another code, any status           | `Refused`                                   |
| no code; status 4xx, or 503: not handled (RFC 9110)   | `Refused`, its answer's code None           |
| no code; 408, or another 5xx (500, 502, 504, 520 …)   | `Unclear`: it failed, perhaps after acting  |
| no code; any other status (2xx, 3xx)                  | `Unclear`; a redirect is never followed     |
| history: code 200, and content that is no JSON array  | `Unclear`                                   |
| shorter than its Content-Length, or broken chunks     | `NoAnswer` with its status, whatever it was |
| over 1 MiB                                            | `NoAnswer` with its status; reading stops   |
| no status line, or none within the time-out           | `NoAnswer`                                  |
| no connection, no TLS, no such name                   | `NotSent`                                   |

The last four are no whole answers: wire.py tells them apart.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from moderation.goeasy.errors import Refused, Unclear
from moderation.goeasy.wire import compact, masked_key
from moderation.json_depth import STEP, STRING_OR_BRACKET, nests_too_deeply

# This product's own bound on what is kept of an answer.
MAX_CONTENT_LENGTH = 2_000
# The content of an accepted recall (goeasy-api.md, "Recall"). Any other may name messages that did not go.
USUAL_CONTENT = "OK"
# What a database cannot hold.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Answer:
    """A whole answer. `code` and `content` are the body's; `latency_ms` is the time of the whole call in ms.

    `content` is text, else compact JSON, else the start of the body: at most 2,000 characters, the key masked,
    U+FFFD for what a database cannot hold. `nonsense`: the body is no JSON object with a whole number as code.
    """

    http_status: int
    code: int | None
    content: str
    latency_ms: int
    nonsense: bool

    @property
    def accepted(self) -> bool:
        """Whether GoEasy said that it did what was asked."""
        return self.code == 200

    @property
    def is_usual(self) -> bool:
        """Whether it was accepted with the documented content, and nothing else was said."""
        return self.accepted and self.content == USUAL_CONTENT

    @property
    def refuses_key(self) -> bool:
        """Whether the key was refused: then nothing was looked at, let alone done."""
        return not self.accepted and bool({401, 403} & {self.code, self.http_status})

    @property
    def tells_effect(self) -> bool:
        """Whether the answer tells if GoEasy acted. 503 without a code: the call was not handled (RFC 9110)."""
        if self.code is not None:
            return self.code != 408 and self.code < 500
        return self.http_status == 503 or (400 <= self.http_status < 500 and self.http_status != 408)


def parse_answer(http_status: int, body: bytes, *, latency_ms: int, appkey: str = "") -> Answer:
    """What `body` says, whatever it is; an echo of `appkey` in it is masked. Raises nothing."""
    text = decoded(body)
    code, content = None, text
    try:
        members = dict(parts(text)) if text.lstrip().startswith("{") else {}
        code = _code(value_of(members.get("code", "null")))
        if code is not None and "content" in members:
            value = value_of(members["content"])
            content = value if isinstance(value, str) else compact(value)
    except ValueError:
        # No JSON, or JSON made to hurt: ints of 5,000 digits.
        code, content = None, text
    if appkey:
        content = content.replace(appkey, masked_key(appkey))
    return Answer(
        http_status=http_status,
        code=code,
        content=UNSTORABLE.sub("\ufffd", content[:MAX_CONTENT_LENGTH]),
        latency_ms=latency_ms,
        nonsense=code is None,
    )


def decoded(body: bytes) -> str:
    """The text of an answer's body; U+FFFD stands for bytes that are no UTF-8."""
    return body.decode("utf-8", "replace").removeprefix("\ufeff")


def _code(code: object) -> int | None:
    """An answer's code if it is one: a whole number or a string of digits, of a size that codes have."""
    if isinstance(code, str) and re.fullmatch("[0-9]{1,9}", code):
        return int(code)
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9:
        return code
    return None


def judge(answer: Answer, *, retry_after: float | None = None) -> Unclear | Refused | None:
    """What `answer` tells of the effect, by the table above; None when it was accepted."""
    if answer.accepted:
        return None
    return Refused(answer, retry_after=retry_after) if answer.tells_effect else Unclear(answer)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait, in either of its forms; None when it is neither."""
    value = (value or "").strip()
    if re.fullmatch("[0-9]{1,9}", value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        # RFC 9110: GMT always; a date that does not say so is read so.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return max(seconds, 0.0)


@dataclass(frozen=True)
class HistoryMessage:
    """A message of history: `raw` is the exact text that GoEasy wrote for it, `data` the object that it is.

    `raw` is evidence: what was sent, byte for byte (bytes that are no UTF-8 became U+FFFD). Strings in `data`
    may hold a NUL or half a surrogate pair; `raw` has these escaped, so that any database can hold it.
    """

    raw: str
    data: dict[str, Any]


@dataclass(frozen=True)
class HistoryPage:
    """A page of history in GoEasy's order; `unreadable` holds the elements that are no objects."""

    messages: tuple[HistoryMessage, ...]
    answer: Answer
    unreadable: tuple[str, ...] = ()


def history_elements(text: str) -> list[tuple[str, Any]] | None:
    """The elements of the array `content` of an answer's JSON, each as its exact text and its value.

    The value is `value_of()` the text. None instead of a list when `text` is no JSON object, or its content is
    no array. Of two contents the last counts, as for json.loads.
    """
    try:
        content = dict(parts(text)).get("content", "") if text.lstrip().startswith("{") else ""
        if not content.startswith("["):
            return None
        return [(raw, value_of(raw)) for _name, raw in parts(content)]
    except ValueError:
        return None


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def parts(text: str) -> list[tuple[str, str]]:
    """The members of the JSON object `text` as (name, exact text of the value), or a JSON array's as ("", text).

    Recurses nowhere, so that one value made to hurt costs nothing but itself. Raises ValueError when `text` is
    neither, or a value that is not too deep to be read is no JSON.
    """
    found: list[tuple[str, str]] = []
    is_deep = nests_too_deeply(text.lstrip(" \t\r\n"))
    try:
        at = _skip(text, 0)
        close = {"{": "}", "[": "]"}.get(text[at], "")
        at = _skip(text, at + 1)
        while close and (text[at] != close or found):
            name = ""
            if close == "}":
                name, at = _name(text, at)
                at = _after(text, at, ":")
            # Where nothing is deep, the decoder itself finds the end.
            end = _end(text, at) if is_deep else _DECODER.raw_decode(text, at)[1]
            found.append((name, raw := text[at:end]))
            if is_deep and not nests_too_deeply(raw):
                json.loads(raw)
            at = _skip(text, end)
            if text[at] == close:
                break
            at = _after(text, at, ",")
        if not close or text[at + 1 :].strip(" \t\r\n"):
            raise ValueError("neither an object nor an array")
    except IndexError:
        raise ValueError("it breaks off") from None
    return found


def text_of(body: bytes) -> str:
    """A JSON body as text without blanks around it, decoded as `json` does. Raises ValueError."""
    return body.decode(json.detect_encoding(body), "surrogatepass").strip(" \t\r\n")


def value_of(raw: str) -> Any:
    """The value of the JSON text `raw`, where brackets nest deeper than MAX_DEPTH left as the text that they are:
    of an object, in the members concerned. Raises ValueError.
    """
    if not nests_too_deeply(raw):
        return json.loads(raw)
    if not raw.startswith("{"):
        return raw
    return {name: part if nests_too_deeply(part) else json.loads(part) for name, part in parts(raw)}


def _name(text: str, at: int) -> tuple[str, int]:
    """The member's name that begins at `at`, and where it ends."""
    if text[at] != '"':
        raise ValueError("no name")
    name, at = _DECODER.raw_decode(text, at)
    return str(name), at


def _end(text: str, at: int) -> int:
    """Where the JSON value that begins at `at` ends."""
    if text[at] not in "[{":
        return _DECODER.raw_decode(text, at)[1]
    depth = 0
    for token in STRING_OR_BRACKET.finditer(text, at):
        depth += STEP.get(token[0], 0)
        if not depth:
            return token.end()
    raise ValueError("it breaks off")


def _skip(text: str, at: int) -> int:
    """The place after white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _after(text: str, at: int, sign: str) -> int:
    """The place after white space, `sign`, and white space. Raises ValueError when something else stands there."""
    at = _skip(text, at)
    if text[at] != sign:
        raise ValueError(f"no {sign}")
    return _skip(text, at + 1)
