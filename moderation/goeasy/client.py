"""GoEasy's REST API: recall, history, send. Everything that goes to GoEasy leaves from here.

The documentation's rules are enforced here, before the network. wire.py is how a request travels, answers.py
reads and judges what comes back, errors.py is what can go wrong. Nothing is ever sent twice from here; whoever
calls decides that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from moderation.goeasy.answers import (
    UNSTORABLE,
    Answer,
    HistoryMessage,
    HistoryPage,
    decoded,
    history_elements,
    judge,
    parse_answer,
    parse_retry_after,
)
from moderation.goeasy.destinations import AllowedHosts
from moderation.goeasy.errors import GoEasyError, InvalidCall, Unclear
from moderation.goeasy.wire import MASK, REGIONS, Key, Session, base_url, compact, masked_key
from moderation.json_depth import nests_too_deeply

__all__ = [
    "MASK",
    "MAX_HISTORY_LIMIT",
    "MAX_ID_LENGTH",
    "MAX_RECALLER_DATA_BYTES",
    "MAX_TEXT_BYTES",
    "MAX_TIMESTAMPS_PER_CALL",
    "REGIONS",
    "TIMESTAMP_PROBLEMS",
    "Answer",
    "Client",
    "Group",
    "HistoryMessage",
    "HistoryPage",
    "Private",
    "Recaller",
    "Recipient",
    "Target",
    "base_url",
    "check_timestamps",
    "masked",
    "recall_body",
    "send_body",
    "timestamp_problem",
]

# goeasy-api.md, "Recall" and "History"
MAX_TIMESTAMPS_PER_CALL = 20
MAX_HISTORY_LIMIT = 30
# goeasy-api.md, "History": a text message's text
MAX_TEXT_BYTES = 3 * 1024
# This product's own bounds: GoEasy documents none.
MAX_ID_LENGTH = 255
MAX_RECALLER_DATA_BYTES = 2048

DAY_MS = 24 * 60 * 60 * 1000


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


def send_body(
    *,
    appkey: str,
    sender_id: str,
    to: Recipient,
    type: str,  # noqa: A002 - GoEasy's word
    payload: dict[str, Any] | str,
    sender_data: dict[str, Any] | None = None,
    to_data: dict[str, Any] | None = None,
    notification: dict[str, Any] | None = None,
) -> dict[str, object]:
    """The body of one send (goeasy-api.md, "Send"); what is None is left out. Raises InvalidCall.

    `type` is one of GoEasy's or the application's own.
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
    return {
        "appkey": appkey,
        "senderId": sender_id,
        **({"senderData": sender_data} if sender_data is not None else {}),
        "to": {"type": kind, "id": to_id, **({"data": to_data} if to_data is not None else {})},
        "type": type,
        "payload": payload,
        **({"notification": notification} if notification is not None else {}),
    }


def masked(body: Mapping[str, object]) -> dict[str, object]:
    """A copy of `body` to show and to keep: the key's first three characters, none of a short key's."""
    copy = dict(body)
    if "appkey" in copy:
        copy["appkey"] = masked_key(str(copy["appkey"]))
    return copy


class Client:
    """Calls to one application at GoEasy; any number of threads may share one. Close it, or use `with`.

    Time-outs are in seconds. `connect_timeout` bounds connecting (to each address of the name) and the TLS
    handshake, not the resolution of the name, which the system bounds. `read_timeout` bounds the whole answer
    from the moment the request has left, however slowly it drips.

    The environment's proxies (HTTPS_PROXY, NO_PROXY …) and REQUESTS_CA_BUNDLE are used, read once; a loopback
    address is reached directly, and no .netrc is read. More threads than `pool_size` get connections that are
    not kept. A connection that the server closes at the very moment a request leaves ends as NoAnswer: nobody
    can know. Idle connections are dropped early to make that rare.

    The key goes to `allowed_hosts` alone (default: the environment's GOEASY_ALLOWED_HOSTS), over https, or http on
    this machine.

    Every method raises InvalidCall, NotSent (NotAllowed), NoAnswer (Unclear) or Refused, and nothing else.
    """

    def __init__(
        self,
        *,
        appkey: str,
        rest_host: str,
        connect_timeout: float = 5,
        read_timeout: float = 20,
        pool_size: int = 8,
        allowed_hosts: AllowedHosts | None = None,
    ) -> None:
        self._appkey = Key(appkey)
        self._base_url = base_url(rest_host)
        self._timeout = (connect_timeout, read_timeout)
        self._session = Session(self._base_url, pool_size, allowed_hosts or AllowedHosts.from_environment())

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
        """Send a message as `sender_id` to `("private", user)` or `("group", group)`, as `send_body()` has it."""
        body = send_body(
            appkey=self._appkey,
            sender_id=sender_id,
            to=to,
            type=type,
            payload=payload,
            sender_data=sender_data,
            to_data=to_data,
            notification=notification,
        )
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
        received = self._session.exchange(
            method,
            self._base_url + path,
            query=query,
            body=body,
            timeout=self._timeout,
        )
        if isinstance(received, GoEasyError):
            return received
        answer = parse_answer(received.http_status, received.body, latency_ms=received.latency_ms, appkey=self._appkey)
        problem = judge(answer, retry_after=parse_retry_after(received.retry_after))
        return problem or _Reply(answer, decoded(received.body))


@dataclass(frozen=True)
class _Reply:
    """An accepted answer, and the whole text that it was read from."""

    answer: Answer
    text: str


def _accepted(reply: _Reply | GoEasyError) -> Answer:
    if isinstance(reply, GoEasyError):
        raise reply
    return reply.answer


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
        text = compact(value, allow_nan=False)
    except (TypeError, ValueError):
        raise InvalidCall(f"{field} holds what JSON cannot.", field=field) from None
    except RecursionError:
        # Deeper than any interpreter writes is deeper than MAX_DEPTH.
        text = ""
    if not text or nests_too_deeply(text):
        raise InvalidCall(f"{field} nests too deeply.", field=field)
    # A NUL is always escaped in JSON; without the escaped backslashes no other text looks like it.
    if UNSTORABLE.search(text) or "\\u0000" in text.replace("\\\\", ""):
        _refuse_characters(field)
    return text.encode()


def _now_ms() -> int:
    return int(time.time() * 1000)
