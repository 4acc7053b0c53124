"""GoEasy's REST API: recall, history, send. Everything that goes to GoEasy leaves from here.

How an answer is judged. The body's `code` decides when there is one, whatever the HTTP status (goeasy-api.md,
"Recall": the two may differ). Without a code the status decides, and only where it tells something:

| what came                                             | becomes                                     |
|-------------------------------------------------------|---------------------------------------------|
| a JSON object with code 200, any status               | `Answer`                                    |
| a JSON object with another code, any status           | `Refused`                                   |
| no code; status 4xx, or 5xx other than a gateway's    | `Refused`, its answer's code None           |
| no code; status 502, 504, 520-527                     | `Unclear`: the gateway does not know either |
| no code; any other status (2xx, 3xx)                  | `Unclear`; a redirect is never followed     |
| history: code 200, and content that is no JSON array  | `Unclear`                                   |
| shorter than its Content-Length, or broken chunks     | `NoAnswer` with its status, whatever it was |
| over 1 MiB                                            | `NoAnswer` with its status; reading stops   |
| no status line, or none within the time-out           | `NoAnswer`                                  |
| no connection, no TLS, no such name                   | `NotSent`                                   |

Whether a request left is not guessed from the kind of exception: the connection notes when its first byte is
handed over (`_Connection`). Nothing is ever sent twice from here; whoever calls decides that.
"""

from __future__ import annotations

import email.utils
import http.client
import io
import ipaddress
import json
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from http.cookiejar import DefaultCookiePolicy
from itertools import islice
from types import TracebackType
from typing import Any, Literal, NoReturn, Self
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from moderation.goeasy.errors import GoEasyError, InvalidCall, NoAnswer, NotSent, Refused, Unclear

# goeasy-api.md, "Recall" and "History"
MAX_TIMESTAMPS_PER_CALL = 20
MAX_HISTORY_LIMIT = 30
# goeasy-api.md, "History": a text message's text
MAX_TEXT_BYTES = 3 * 1024
# This product's own bounds: GoEasy documents none.
MAX_ID_LENGTH = 255
MAX_RECALLER_DATA_BYTES = 2048
MAX_ANSWER_BYTES = 1024 * 1024
MAX_CONTENT_LENGTH = 2_000

# goeasy-api.md, "REST hosts"
REGIONS = {"hangzhou": "https://rest-hz.goeasy.io", "singapore": "https://rest-singapore.goeasy.io"}

MASK = "•••"
DAY_MS = 24 * 60 * 60 * 1000
# Statuses of a gateway that lost its answer, Cloudflare's own among them: the server behind may have acted.
GATEWAY_STATUSES = {502, 504, *range(520, 528)}
# An idle connection is not trusted for longer (seconds): a server that closes it just as a request leaves
# makes an unknown outcome out of nothing. Common servers keep idle connections for 5 seconds or more.
MAX_IDLE_SECONDS = 4.0
USER_AGENT = "goeasy-moderation-console"

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
BASE_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?)"
    r"(?P<port>:[0-9]{1,5})?(?P<path>(/[a-z0-9._~%-]*)*)",
    re.IGNORECASE | re.ASCII,
)


def base_url(rest_host: str) -> str:
    """The base URL, without a slash at its end, that a region, a host name or a base URL stands for.

    A host name is reached over HTTPS. Raises ValueError with a sentence that names `rest_host`.
    """
    text = rest_host.strip()
    if text.lower() in REGIONS:
        return REGIONS[text.lower()]
    url = BASE_URL.fullmatch(text if "://" in text else f"https://{text}")
    # A bare word is far more likely a misspelt region than a host; such a host can be written as a URL.
    bare_word = "://" not in text and not re.search(r"[.:]|^localhost$", text, re.IGNORECASE)
    if url is None or bare_word or not _is_address(url):
        # Not what stands before an @ or behind a ?: it may be a password, or the key.
        shown = re.split("[?#]", text.rpartition("@")[2])[0]
        raise ValueError(
            f"“{shown}” is neither a region ({', '.join(REGIONS)}) nor a host name nor a base URL such as "
            "http://127.0.0.1:8001, without user name, query or fragment."
        )
    return url[0].rstrip("/")


def _is_address(url: re.Match[str]) -> bool:
    if url["port"] and not 0 < int(url["port"][1:]) < 65536:
        return False
    if url["host"].startswith("["):
        try:
            ipaddress.IPv6Address(url["host"][1:-1])
        except ValueError:
            return False
    return True


@dataclass(frozen=True)
class Private:
    """A private conversation of two users, in either order. Raises InvalidCall for what is no id."""

    user_a: str
    user_b: str

    def __post_init__(self) -> None:
        _check_id(self.user_a, "userAId")
        _check_id(self.user_b, "userBId")

    def as_fields(self) -> dict[str, str]:
        """The conversation as GoEasy's parameters."""
        return {"userAId": self.user_a, "userBId": self.user_b}


@dataclass(frozen=True)
class Group:
    """A group's conversation. Raises InvalidCall for what is no id."""

    group_id: str

    def __post_init__(self) -> None:
        _check_id(self.group_id, "groupId")

    def as_fields(self) -> dict[str, str]:
        """The conversation as GoEasy's parameters."""
        return {"groupId": self.group_id}


Target = Private | Group
Recipient = tuple[Literal["private", "group"], str]


@dataclass(frozen=True)
class Recaller:
    """Who clients are told took a message back. Raises InvalidCall for what cannot be sent.

    `data` is a JSON object of at most 2 KB as UTF-8, for example a name and an avatar.
    """

    id: str = ""
    data: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.id != "":
            _check_id(self.id, "recaller.id")
        if self.data is None:
            return
        size = len(_encoded_object(self.data, "recaller.data"))
        if size > MAX_RECALLER_DATA_BYTES:
            raise InvalidCall(
                f"The recaller's data is {size} bytes long; at most {MAX_RECALLER_DATA_BYTES} are allowed.",
                field="recaller.data",
            )

    def as_field(self) -> dict[str, Any] | None:
        """The `recaller` of a recall's body; None when it is empty and to be left out."""
        field: dict[str, Any] = {"id": self.id} if self.id else {}
        if self.data:
            field["data"] = dict(self.data)
        return field or None


def timestamp_problem(value: object, *, now_ms: int) -> str | None:
    """Why `value` is no timestamp of a message (ms since the epoch), or None when it can be one.

    "not_whole": no whole number · "seconds": 10 digits, so seconds · "digits": not 13 digits ·
    "future": over a day after `now_ms`.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        return "not_whole"
    if 10**9 <= value < 10**10:
        return "seconds"
    if not 10**12 <= value < 10**13:
        return "digits"
    return "future" if value > now_ms + DAY_MS else None


TIMESTAMP_PROBLEMS = {
    "not_whole": "is not a whole number",
    "seconds": "has 10 digits: seconds, where milliseconds (13 digits) are wanted",
    "digits": "does not have 13 digits",
    "future": "lies more than a day in the future",
}


def check_timestamps(values: Iterable[object], *, now_ms: int, limit: int = MAX_TIMESTAMPS_PER_CALL) -> tuple[int, ...]:
    """`values`, in their order, as the timestamps (ms) of one call.

    That is 1 to `limit`, distinct, each of 13 digits and at most a day after `now_ms`. Raises InvalidCall.
    """
    # One more than allowed is enough to refuse, however many there are.
    found = list(islice(values, limit + 1))
    if not found:
        raise InvalidCall("No timestamp is given; at least one is needed.", field="messages")
    if len(found) > limit:
        raise InvalidCall(f"More than {limit} timestamps are given.", field="messages")
    timestamps: list[int] = []
    for position, value in enumerate(found, start=1):
        problem = timestamp_problem(value, now_ms=now_ms)
        if problem or not isinstance(value, int):
            raise InvalidCall(
                f"Timestamp {position} of {len(found)} {TIMESTAMP_PROBLEMS[problem or 'not_whole']}.",
                field="messages",
            )
        if value in timestamps:
            raise InvalidCall(f"Timestamp {value} is given twice.", field="messages")
        timestamps.append(value)
    return tuple(timestamps)


def recall_body(
    *, appkey: str, target: Target, timestamps: Iterable[object], recaller: Recaller | None = None
) -> dict[str, object]:
    """The body of one recall, its fields and their order as documented (goeasy-api.md, "Recall").

    Raises InvalidCall when the timestamps (ms) are not 1 to 20 good ones.
    """
    recaller_field = recaller.as_field() if recaller else None
    return {
        "appkey": appkey,
        **({"recaller": recaller_field} if recaller_field else {}),
        **target.as_fields(),
        "messages": list(check_timestamps(timestamps, now_ms=_now_ms())),
    }


def masked(body: Mapping[str, object]) -> dict[str, object]:
    """A copy of `body` to show and to keep: the key's first three characters, none of a short key's."""
    copy = dict(body)
    if "appkey" in copy:
        copy["appkey"] = _masked_key(str(copy["appkey"]))
    return copy


def _masked_key(appkey: str) -> str:
    return (appkey[:3] if len(appkey) >= 12 else "") + MASK


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
    text = _text(body)
    code, content = None, text
    try:
        data = json.loads(text)
        code = _code(data)
        if code is not None and "content" in data:
            content = data["content"]
            content = content if isinstance(content, str) else _compact(content)
    except (ValueError, RecursionError):
        # No JSON, or JSON made to hurt: ints of 5,000 digits, 100,000 brackets.
        code, content = None, text
    if appkey:
        content = content.replace(appkey, _masked_key(appkey))
    return Answer(
        http_status=http_status,
        code=code,
        content=UNSTORABLE.sub("\ufffd", content[:MAX_CONTENT_LENGTH]),
        latency_ms=latency_ms,
        nonsense=code is None,
    )


def _text(body: bytes) -> str:
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
    if answer.code is None and (not 400 <= answer.http_status < 600 or answer.http_status in GATEWAY_STATUSES):
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


class Client:
    """Calls to one application at GoEasy; any number of threads may share one. Close it, or use `with`.

    Time-outs are in seconds. `connect_timeout` bounds connecting (to each address of the name) and the TLS
    handshake, not the resolution of the name, which the system bounds. `read_timeout` bounds the whole answer
    from the moment the request has left, however slowly it drips.

    The environment's proxies (HTTPS_PROXY, NO_PROXY …) and REQUESTS_CA_BUNDLE are used, read once; a loopback
    address is reached directly, and no .netrc is read. More threads than `pool_size` get connections that are
    not kept. A connection that the server closes at the very moment a request leaves ends as NoAnswer: nobody
    can know. Idle connections are dropped early to make that rare.

    Every method raises InvalidCall, NotSent, NoAnswer (Unclear) or Refused, and nothing else.
    """

    def __init__(
        self,
        *,
        appkey: str,
        rest_host: str,
        connect_timeout: float = 5,
        read_timeout: float = 20,
        pool_size: int = 8,
    ) -> None:
        self._appkey = _Key(appkey)
        self._base_url = base_url(rest_host)
        self._timeout = (connect_timeout, read_timeout)
        self._session = _Session(self._base_url, pool_size)
        for name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"):
            logging.getLogger(name).addFilter(_hide_keys)

    def __repr__(self) -> str:
        return f"Client({self._base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()

    def recall(self, *, target: Target, timestamps: Iterable[object], recaller: Recaller | None = None) -> Answer:
        """Take back the messages of `target` at 1 to 20 `timestamps` (ms). Cannot be undone."""
        body = recall_body(appkey=self._appkey, target=target, timestamps=timestamps, recaller=recaller)
        return _accepted(self._call("POST", "/v2/im/history/recall", body=body))

    def history(self, *, target: Target, limit: int = MAX_HISTORY_LIMIT, before: int | None = None) -> HistoryPage:
        """The newest `limit` (1 to 30) messages of `target`, sent strictly before `before` (ms) if given.

        Raises Unclear, too, when GoEasy accepts but gives no array of messages.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_HISTORY_LIMIT:
            raise InvalidCall(f"The limit is not a whole number from 1 to {MAX_HISTORY_LIMIT}.", field="limit")
        query: dict[str, object] = {"appkey": self._appkey, **target.as_fields(), "limit": limit}
        if before is not None:
            problem = timestamp_problem(before, now_ms=_now_ms())
            # A cursor may lie in the future: one past a message that does.
            if problem and problem != "future":
                raise InvalidCall(f"The cursor {TIMESTAMP_PROBLEMS[problem]}.", field="lasttimestamp")
            query["lasttimestamp"] = before
        reply = self._call("GET", "/v2/im/history", query=query)
        answer = _accepted(reply)
        elements = history_elements(reply.text) if isinstance(reply, _Reply) else None
        if elements is None:
            raise Unclear(answer)
        return HistoryPage(
            messages=tuple(HistoryMessage(raw, data) for raw, data in elements if isinstance(data, dict)),
            answer=answer,
            unreadable=tuple(raw for raw, data in elements if not isinstance(data, dict)),
        )

    def send(
        self,
        *,
        sender_id: str,
        to: Recipient,
        type: str,
        payload: dict[str, Any] | str,
        sender_data: dict[str, Any] | None = None,
        to_data: dict[str, Any] | None = None,
        notification: dict[str, Any] | None = None,
    ) -> Answer:
        """Send a message as `sender_id` to `("private", user)` or `("group", group)` (goeasy-api.md, "Send").

        `type` is one of GoEasy's or the application's own; what is None is left out of the body.
        """
        kind, to_id = to
        if kind not in ("private", "group"):
            raise InvalidCall("A message goes to “private” or “group”.", field="to.type")
        _check_id(sender_id, "senderId")
        _check_id(to_id, "to.id")
        _check_id(type, "type")
        if isinstance(payload, str):
            _check_text(payload, "payload")
        else:
            _encoded_object(payload, "payload")
        text = payload.get("text") if isinstance(payload, dict) else payload
        if type == "text" and isinstance(text, str) and len(text.encode()) > MAX_TEXT_BYTES:
            raise InvalidCall(f"The text is longer than {MAX_TEXT_BYTES} bytes.", field="payload")
        optional = {"senderData": sender_data, "to.data": to_data, "notification": notification}
        for field, value in optional.items():
            if value is not None:
                _encoded_object(value, field)
        body: dict[str, object] = {
            "appkey": self._appkey,
            "senderId": sender_id,
            **({"senderData": sender_data} if sender_data is not None else {}),
            "to": {"type": kind, "id": to_id, **({"data": to_data} if to_data is not None else {})},
            "type": type,
            "payload": payload,
            **({"notification": notification} if notification is not None else {}),
        }
        return _accepted(self._call("POST", "/v2/im/message", body=body))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> _Reply | GoEasyError:
        """Make one call. An error is returned, not raised: raised here, its frames would hold the key."""
        if not re.fullmatch("[!-~]+", self._appkey):
            return InvalidCall("The key is empty or holds what no key holds.", field="appkey")
        _this_call.request_began = False
        status: int | None = None
        content = bytearray()
        started = time.monotonic()
        try:
            with self._session.request(
                method,
                self._base_url + path,
                # Not left to requests, which writes a space as "+".
                params=urlencode(query, quote_via=quote, safe="") if query else None,
                data=_compact(body).encode() if body else None,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
                for chunk in response.iter_content(16 * 1024):
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        return NoAnswer(
                            f"The answer is longer than {MAX_ANSWER_BYTES} bytes.",
                            kind="oversize",
                            latency_ms=_ms_since(started),
                            http_status=status,
                        )
                retry_after = parse_retry_after(response.headers.get("Retry-After"))
        except Exception as problem:
            # Whatever it is, it carries the request, and with it the key; and what counts does not depend on
            # what it is: whether the request had begun to leave.
            latency_ms = _ms_since(started)
            if _this_call.request_began:
                return _no_answer(problem, status, latency_ms)
            return _not_sent(problem, latency_ms)
        answer = parse_answer(status, bytes(content), latency_ms=_ms_since(started), appkey=self._appkey)
        return judge(answer, retry_after=retry_after) or _Reply(answer, _text(bytes(content)))


@dataclass(frozen=True)
class _Reply:
    """An accepted answer, and the whole text that it was read from."""

    answer: Answer
    text: str


def _accepted(reply: _Reply | GoEasyError) -> Answer:
    if isinstance(reply, GoEasyError):
        raise reply
    return reply.answer


# The first that fits names what kept a request from leaving.
NOT_SENT: tuple[tuple[str, tuple[type[BaseException], ...], str], ...] = (
    ("proxy_failed", (urllib3.exceptions.ProxyError,), "The proxy let nothing through to GoEasy."),
    ("name_unresolved", (urllib3.exceptions.NameResolutionError,), "GoEasy's host name is not known."),
    (
        "tls_failed",
        (ssl.SSLError, urllib3.exceptions.SSLError),
        "No secure connection to GoEasy could be made.",
    ),
    ("connect_timeout", (TimeoutError,), "GoEasy did not take the connection in time."),
    ("connection_refused", (ConnectionRefusedError,), "GoEasy's host refused the connection."),
)


def _not_sent(problem: BaseException, latency_ms: int) -> NotSent:
    """What kept a request from leaving."""
    chain = list(_chain(problem))
    for kind, types, sentence in NOT_SENT:
        if any(isinstance(link, types) for link in chain):
            return NotSent(sentence, kind=kind, latency_ms=latency_ms)
    return NotSent("GoEasy could not be reached.", kind="unreachable", latency_ms=latency_ms)


def _no_answer(problem: BaseException, status: int | None, latency_ms: int) -> NoAnswer:
    """How the answer to a request that left was lost."""
    chain = list(_chain(problem))
    if any(isinstance(link, (TimeoutError, urllib3.exceptions.ReadTimeoutError)) for link in chain):
        kind, sentence = "read_timeout", "GoEasy did not answer in time."
    elif status is None and any(isinstance(link, (ConnectionError, ssl.SSLError)) for link in chain):
        kind, sentence = "connection_lost", "The connection was lost before GoEasy answered."
    else:
        kind, sentence = "broken_answer", "GoEasy's answer broke off or is no HTTP."
    return NoAnswer(sentence, kind=kind, latency_ms=latency_ms, http_status=status)


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """`problem`, and what led to it."""
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


class _Key(str):
    """A key that a debugger's or an error page's list of variables does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


def _hide_keys(record: logging.LogRecord) -> bool:
    """Mask keys in urllib3's log records, which quote whole URLs, and history's URL carries the key."""
    if record.exc_info:
        # Headers that could not be parsed, quoted from the server, which may have quoted the request.
        record.msg, record.args = str(record.msg).partition(" (")[0], ()
        record.exc_info = record.exc_text = None
    message = record.getMessage()
    if "appkey=" in message:
        record.msg, record.args = re.sub(r"(appkey=)[^&\s\"'#]*", rf"\1{MASK}", message), ()
    return True


class _ThisCall(threading.local):
    """What is known of the call that this thread is making."""

    request_began = False


_this_call = _ThisCall()


class _TimedReader(io.RawIOBase):
    """Reads from a socket until a moment: the socket's own time-out begins again with every byte."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock = sock
        self._raw = raw
        timeout = sock.gettimeout()
        self._until = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose head and body together have the read time-out to arrive."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


class _Connection(urllib3.connection.HTTPConnection):
    """A connection that notes when a request begins to leave, and is not used again after a long rest."""

    response_class = _Response
    _last_sent = 0.0

    def connect(self) -> None:
        began = _this_call.request_began
        try:
            super().connect()
        finally:
            # A proxy was perhaps asked for a tunnel, through `send`; that is not the request.
            _this_call.request_began = began

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _this_call.request_began = True
        super().send(data)
        self._last_sent = time.monotonic()

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_sent < MAX_IDLE_SECONDS and super().is_connected


class _SecureConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Puts these connections under requests."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if not proxy.lower().startswith("http"):
            raise requests.exceptions.InvalidProxyURL("Only HTTP proxies are supported.")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


class _Session(requests.Session):
    """A session that keeps nothing between calls but connections, and never looks where a redirect leads."""

    def __init__(self, base: str, pool_size: int) -> None:
        super().__init__()
        adapter = _Adapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0, pool_block=False)
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        # Not trusted as a whole: requests would take a password for the host from .netrc.
        self.trust_env = False
        self.proxies = {} if _is_loopback(base) else get_environ_proxies(base)
        self.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # "identity": what is counted against MAX_ANSWER_BYTES is what arrives.
        self.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"})

    def get_redirect_target(self, resp: requests.Response) -> None:
        # Even with allow_redirects=False requests reads a redirect's whole body to prepare the next one.
        return None


def _is_loopback(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_id(value: object, field: str) -> None:
    """Raise InvalidCall unless `value` can be an id: a text of 1 to 255 characters."""
    if not isinstance(value, str) or not value:
        raise InvalidCall(f"{field} is empty.", field=field)
    if len(value) > MAX_ID_LENGTH:
        raise InvalidCall(f"{field} is longer than {MAX_ID_LENGTH} characters.", field=field)
    _check_text(value, field)


def _check_text(value: str, field: str) -> None:
    if UNSTORABLE.search(value):
        _refuse_characters(field)


def _refuse_characters(field: str) -> NoReturn:
    raise InvalidCall(f"{field} holds a NUL character or half a surrogate pair.", field=field)


def _encoded_object(value: object, field: str) -> bytes:
    """`value` as JSON in UTF-8, as it will travel; raises InvalidCall unless it is a JSON object that can."""
    if not isinstance(value, dict):
        raise InvalidCall(f"{field} is not a JSON object.", field=field)
    try:
        text = _compact(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidCall(f"{field} holds what JSON cannot.", field=field) from None
    # A NUL is always escaped in JSON; without the escaped backslashes no other text looks like it.
    if UNSTORABLE.search(text) or "\\u0000" in text.replace("\\\\", ""):
        _refuse_characters(field)
    return text.encode()


def _compact(value: object, *, allow_nan: bool = True) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
