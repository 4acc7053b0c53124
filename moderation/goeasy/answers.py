"""Parsing of GoEasy's answers, and what each means for the effect of a call.

The body's `code` decides when there is one, whatever the HTTP status (goeasy-api.md, "Recall": the two may differ).
Without a code the status decides, if it is conclusive. After code or status 408 (time-out) or 500 and above it is
unknown whether the call had an effect: 408 was observed after the messages were gone.

| received                                              | becomes                                     |
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

The last four are not complete answers; wire.py distinguishes them.
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

# Characters kept of an answer's content: a limit of this console, not of GoEasy.
MAX_CONTENT_LENGTH = 2_000
# Content of an accepted recall (goeasy-api.md, "Recall"). Any other may list messages that were not recalled.
USUAL_CONTENT = "OK"
# Characters that a database cannot store.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Answer:
    """A complete answer. `code` and `content` are the body's; `latency_ms` is the duration of the whole call in ms.

    `content` is text, else compact JSON, else the start of the body: at most 2,000 characters, with the key masked and
    U+FFFD for characters that a database cannot store. `is_malformed`: the body is not a JSON object with an integer
    code.
    """

    http_status: int
    code: int | None
    content: str
    latency_ms: int
    is_malformed: bool

    @property
    def accepted(self) -> bool:
        """Whether GoEasy reported success."""
        return self.code == 200

    @property
    def is_usual(self) -> bool:
        """Whether it was accepted with exactly the documented content."""
        return self.accepted and self.content == USUAL_CONTENT

    @property
    def refuses_key(self) -> bool:
        """Whether the key was refused: the call then had no effect."""
        return not self.accepted and bool({401, 403} & {self.code, self.http_status})

    @property
    def is_conclusive(self) -> bool:
        """Whether the answer shows if GoEasy acted. 503 without a code: the call was not handled (RFC 9110)."""
        if self.code is not None:
            return self.code != 408 and self.code < 500
        return self.http_status == 503 or (400 <= self.http_status < 500 and self.http_status != 408)


def parse_answer(http_status: int, body: bytes, *, latency_ms: int, appkey: str = "") -> Answer:
    """Parse any `body`, masking an echo of `appkey` in it. Raises nothing."""
    text = decoded(body)
    code, content = None, text
    try:
        members = dict(json_parts(text)) if text.lstrip().startswith("{") else {}
        code = _code(json_value(members.get("code", "null")))
        if code is not None and "content" in members:
            value = json_value(members["content"])
            content = value if isinstance(value, str) else compact(value)
    except ValueError:
        # Not JSON, or hostile JSON such as an integer of 5,000 digits.
        code, content = None, text
    if appkey:
        content = content.replace(appkey, masked_key(appkey))
    return Answer(
        http_status=http_status,
        code=code,
        content=UNSTORABLE.sub("\ufffd", content[:MAX_CONTENT_LENGTH]),
        latency_ms=latency_ms,
        is_malformed=code is None,
    )


def decoded(body: bytes) -> str:
    """Text of an answer's body, with U+FFFD for invalid UTF-8."""
    return body.decode("utf-8", "replace").removeprefix("\ufeff")


def _code(code: object) -> int | None:
    """The code as an integer, from an integer or digits of plausible size; None for anything else."""
    if isinstance(code, str) and re.fullmatch("[0-9]{1,9}", code):
        return int(code)
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9:
        return code
    return None


def judge(answer: Answer, *, retry_after: float | None = None) -> Unclear | Refused | None:
    """Error for `answer` by the table above; None when it was accepted."""
    if answer.accepted:
        return None
    return Refused(answer, retry_after=retry_after) if answer.is_conclusive else Unclear(answer)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait from a Retry-After header in either of its forms; None when it is invalid."""
    value = (value or "").strip()
    if re.fullmatch("[0-9]{1,9}", value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        # RFC 9110: dates are in GMT, also when they do not say so.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return max(seconds, 0.0)


@dataclass(frozen=True)
class HistoryMessage:
    """A message of history: `raw` is the exact JSON text that GoEasy sent for it, `data` the parsed object.

    `raw` is evidence, unchanged but for U+FFFD in place of invalid UTF-8. Strings in `data` may contain NUL or a lone
    surrogate; in `raw` these are escaped, so that any database can store it.
    """

    raw: str
    data: dict[str, Any]


@dataclass(frozen=True)
class HistoryPage:
    """A page of history in GoEasy's order; `unreadable` holds the elements that are not objects."""

    messages: tuple[HistoryMessage, ...]
    answer: Answer
    unreadable: tuple[str, ...] = ()


def history_elements(text: str) -> list[tuple[str, Any]] | None:
    """Elements of the array `content` in an answer's JSON, each as its exact text and its `json_value()`.

    None when `text` is not a JSON object or its content is not an array. The last of several contents counts, as with
    json.loads.
    """
    try:
        content = dict(json_parts(text)).get("content", "") if text.lstrip().startswith("{") else ""
        if not content.startswith("["):
            return None
        return [(raw, json_value(raw)) for _name, raw in json_parts(content)]
    except ValueError:
        return None


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def json_parts(text: str) -> list[tuple[str, str]]:
    """Members of a JSON object as (name, exact text of the value), or elements of a JSON array as ("", text).

    It does not recurse, so that one hostile value affects no other. Raises ValueError when `text` is neither, or when a
    value of readable depth is not valid JSON.
    """
    members: list[tuple[str, str]] = []
    is_deep = nests_too_deeply(text.lstrip(" \t\r\n"))
    try:
        at = _skip(text, 0)
        close = {"{": "}", "[": "]"}.get(text[at], "")
        at = _skip(text, at + 1)
        while close and (text[at] != close or members):
            name = ""
            if close == "}":
                name, at = _name(text, at)
                at = _after(text, at, ":")
            # Without deep nesting the decoder itself can find the end.
            end = _end(text, at) if is_deep else _DECODER.raw_decode(text, at)[1]
            members.append((name, raw := text[at:end]))
            if is_deep and not nests_too_deeply(raw):
                json.loads(raw)
            at = _skip(text, end)
            if text[at] == close:
                break
            at = _after(text, at, ",")
        if not close or text[at + 1 :].strip(" \t\r\n"):
            raise ValueError("neither an object nor an array")
    except IndexError:
        raise ValueError("the text is incomplete") from None
    return members


def json_text(body: bytes) -> str:
    """Decode a JSON body as `json` does and strip white space. Raises ValueError."""
    return body.decode(json.detect_encoding(body), "surrogatepass").strip(" \t\r\n")


def json_value(raw: str) -> Any:
    """Parse the JSON text `raw`, leaving what nests deeper than MAX_DEPTH as text. Raises ValueError.

    In an object only the members concerned stay text.
    """
    if not nests_too_deeply(raw):
        return json.loads(raw)
    if not raw.startswith("{"):
        return raw
    return {name: part if nests_too_deeply(part) else json.loads(part) for name, part in json_parts(raw)}


def _name(text: str, at: int) -> tuple[str, int]:
    """Member name that starts at `at`, and the position of its end."""
    if text[at] != '"':
        raise ValueError("no name")
    name, at = _DECODER.raw_decode(text, at)
    return str(name), at


def _end(text: str, at: int) -> int:
    """Position of the end of the JSON value that starts at `at`."""
    if text[at] not in "[{":
        return _DECODER.raw_decode(text, at)[1]
    depth = 0
    for token in STRING_OR_BRACKET.finditer(text, at):
        depth += STEP.get(token[0], 0)
        if not depth:
            return token.end()
    raise ValueError("the text is incomplete")


def _skip(text: str, at: int) -> int:
    """Position after white space."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _after(text: str, at: int, sign: str) -> int:
    """Position after `sign` and the white space around it. Raises ValueError if there is something else."""
    at = _skip(text, at)
    if text[at] != sign:
        raise ValueError(f"no {sign}")
    return _skip(text, at + 1)
