"""What GoEasy answers, and what it tells of the effect.

The body's `code` decides when there is one, whatever the HTTP status (goeasy-api.md, "Recall": the two may
differ). Without a code the status decides, and only where it tells something:

| what came                                             | becomes                                     |
|-------------------------------------------------------|---------------------------------------------|
| a JSON object with code 200, any status               | `Answer`                                    |
| a JSON object with another code, any status           | `Refused`                                   |
| no code; status 4xx, or 503: not handled (RFC 9110)   | `Refused`, its answer's code None           |
| no code; another 5xx (500, 501, 502, 504, 520-527 …)  | `Unclear`: it failed, perhaps after acting  |
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

# This product's own bound on what is kept of an answer.
MAX_CONTENT_LENGTH = 2_000
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


def parse_answer(http_status: int, body: bytes, *, latency_ms: int, appkey: str = "") -> Answer:
    """What `body` says, whatever it is; an echo of `appkey` in it is masked. Raises nothing."""
    text = decoded(body)
    code, content = None, text
    try:
        data = json.loads(text)
        code = _code(data)
        if code is not None and "content" in data:
            content = data["content"]
            content = content if isinstance(content, str) else compact(content)
    except (ValueError, RecursionError):
        # No JSON, or JSON made to hurt: ints of 5,000 digits, 100,000 brackets.
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


def _code(data: object) -> int | None:
    """The code of an answer's JSON: a whole number or a string of digits, of a size that codes have."""
    code = data.get("code") if isinstance(data, dict) else None
    if isinstance(code, str) and re.fullmatch("[0-9]{1,9}", code):
        return int(code)
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9:
        return code
    return None


def judge(answer: Answer, *, retry_after: float | None = None) -> Unclear | Refused | None:
    """What `answer` tells of the effect, by the table above; None when it was accepted."""
    if answer.accepted:
        return None
    # 503 says that the request was not handled (RFC 9110, 15.6.4); any other 5xx may have come after the effect.
    if answer.code is None and not (400 <= answer.http_status < 500 or answer.http_status == 503):
        return Unclear(answer)
    return Refused(answer, retry_after=retry_after)


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

    None when `text` is no JSON object, or its content is no array. Of two contents the last counts, as for
    json.loads.
    """
    found: list[tuple[str, Any]] | None = None
    try:
        if not isinstance(json.loads(text), dict):
            return None
        at = _skip(text, text.index("{") + 1)
        while text[at] != "}":
            name, at = _DECODER.raw_decode(text, _skip(text, at, ","))
            at = _skip(text, at, ":")
            if name != "content":
                at = _DECODER.raw_decode(text, at)[1]
            elif text[at] != "[":
                found, at = None, _DECODER.raw_decode(text, at)[1]
            else:
                found, at = _elements(text, at + 1)
            at = _skip(text, at)
    except (ValueError, RecursionError):
        return None
    return found


def _elements(text: str, at: int) -> tuple[list[tuple[str, Any]], int]:
    """The elements of the array whose bracket stands before `at`, and where it ends; `text` is JSON."""
    found = []
    at = _skip(text, at)
    while text[at] != "]":
        start = _skip(text, at, ",")
        value, at = _DECODER.raw_decode(text, start)
        found.append((text[start:at], value))
        at = _skip(text, at)
    return found, at + 1


_DECODER = json.JSONDecoder()


def _skip(text: str, at: int, sign: str = "") -> int:
    """The place after white space, `sign` where it stands next, and white space."""
    while text[at] in " \t\r\n":
        at += 1
    return _skip(text, at + 1) if sign and text[at] == sign else at
