"""What may be sent to GoEasy, and the requests themselves, prepared before anything leaves.

The documentation's rules are enforced here, before the network: what breaks one raises InvalidCall. A prepared call
holds the whole request but the key, so that it can be kept, shown and recorded as it is; the client adds the key when
it sends it (`Client.perform`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NoReturn

from moderation.goeasy.answers import UNSTORABLE
from moderation.goeasy.errors import InvalidCall
from moderation.goeasy.wire import MASK, compact, masked_key
from moderation.json_depth import nests_too_deeply

# docs/goeasy-api.md, "Recall" and "History"
MAX_TIMESTAMPS_PER_CALL = 20
MAX_HISTORY_LIMIT = 30
# docs/goeasy-api.md, "History": a text message's text
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
    candidates = list(islice(values, limit + 1))
    if not candidates:
        raise InvalidCall("No timestamp is given; at least one is needed.", field="messages")
    if len(candidates) > limit:
        raise InvalidCall(f"More than {limit} timestamps are given.", field="messages")
    timestamps: list[int] = []
    for position, value in enumerate(candidates, start=1):
        problem = timestamp_problem(value, now_ms=now_ms)
        if problem or not isinstance(value, int):
            raise InvalidCall(
                f"Timestamp {position} of {len(candidates)} {TIMESTAMP_PROBLEMS[problem or 'not_whole']}.",
                field="messages",
            )
        if value in timestamps:
            raise InvalidCall(f"Timestamp {value} is given twice.", field="messages")
        timestamps.append(value)
    return tuple(timestamps)


@dataclass(frozen=True)
class PreparedCall:
    """A request with an effect, complete but for the key: `body` is JSON text with MASK in the place of the key."""

    method: str
    path: str
    body: str

    @classmethod
    def post(cls, path: str, fields: dict[str, Any]) -> PreparedCall:
        """A POST of `fields` and the key to `path` of the REST host."""
        return cls("POST", path, compact({"appkey": MASK, **fields}))

    @property
    def is_sound(self) -> bool:
        """Whether the body is JSON with a place for the key, as `post()` makes it."""
        try:
            json.loads(self.body)
        except ValueError:
            return False
        return self.body.startswith(KEY_MASKED)

    def content(self, appkey: str) -> bytes:
        """The bytes that are sent with this key."""
        return (KEY_PREFIX + compact(appkey) + self.body[len(KEY_MASKED) :]).encode()

    def shown(self, appkey: str) -> dict[str, Any]:
        """The body to show and to record: of the key its first three characters, none of a short one's."""
        return {**json.loads(self.body), "appkey": masked_key(appkey)}


KEY_PREFIX = '{"appkey":'
KEY_MASKED = KEY_PREFIX + compact(MASK)


def prepare_recall(*, target: Target, timestamps: Iterable[object], recaller: Recaller | None = None) -> PreparedCall:
    """Taking back the messages of `target` at 1 to 20 `timestamps` (ms): docs/goeasy-api.md, "Recall".

    Raises InvalidCall when the timestamps are not 1 to 20 good ones.
    """
    recaller_field = recaller.as_field() if recaller else None
    return PreparedCall.post(
        "/v2/im/history/recall",
        {
            **({"recaller": recaller_field} if recaller_field else {}),
            **target.as_fields(),
            "messages": list(check_timestamps(timestamps, now_ms=now_ms())),
        },
    )


def prepare_send(
    *,
    sender_id: str,
    to: Recipient,
    type: str,  # noqa: A002 - GoEasy's word
    payload: dict[str, Any] | str,
    sender_data: dict[str, Any] | None = None,
    to_data: dict[str, Any] | None = None,
    notification: dict[str, Any] | None = None,
) -> PreparedCall:
    """Sending a message as `sender_id` to `("private", user)` or `("group", group)`: docs/goeasy-api.md, "Send".

    What is None is left out. `type` is one of GoEasy's or the application's own. Raises InvalidCall.
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
    return PreparedCall.post(
        "/v2/im/message",
        {
            "senderId": sender_id,
            **({"senderData": sender_data} if sender_data is not None else {}),
            "to": {"type": kind, "id": to_id, **({"data": to_data} if to_data is not None else {})},
            "type": type,
            "payload": payload,
            **({"notification": notification} if notification is not None else {}),
        },
    )


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


def now_ms() -> int:
    """The time (ms since the epoch)."""
    return int(time.time() * 1000)
