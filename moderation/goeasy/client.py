"""GoEasy's REST API: recall, history, send. Everything that goes to GoEasy leaves from here.

prepared.py has the documentation's rules and makes the requests, wire.py is how a request travels, answers.py reads
and judges what comes back, errors.py is what can go wrong. Nothing is ever sent twice from here; whoever calls decides
that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from moderation.goeasy.answers import (
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
from moderation.goeasy.prepared import (
    DAY_MS,
    MAX_HISTORY_LIMIT,
    MAX_ID_LENGTH,
    MAX_RECALLER_DATA_BYTES,
    MAX_TEXT_BYTES,
    MAX_TIMESTAMPS_PER_CALL,
    TIMESTAMP_PROBLEMS,
    Group,
    PreparedCall,
    Private,
    Recaller,
    Recipient,
    Target,
    check_timestamps,
    now_ms,
    prepare_recall,
    prepare_send,
    timestamp_problem,
)
from moderation.goeasy.wire import MASK, REGIONS, Key, Session, base_url

__all__ = [
    "DAY_MS",
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
    "PreparedCall",
    "Private",
    "Recaller",
    "Recipient",
    "Target",
    "base_url",
    "check_timestamps",
    "prepare_recall",
    "prepare_send",
    "timestamp_problem",
]


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
        return self.perform(prepare_recall(target=target, timestamps=timestamps, recaller=recaller))

    def perform(self, prepared: PreparedCall) -> Answer:
        """Make a prepared call: what it holds is sent as it is, and the key with it."""
        return _accepted(self._call(prepared.method, prepared.path, prepared=prepared))

    def history(self, *, target: Target, limit: int = MAX_HISTORY_LIMIT, before: int | None = None) -> HistoryPage:
        """The newest `limit` (1 to 30) messages of `target`, sent strictly before `before` (ms) if given.

        Raises Unclear, too, when GoEasy accepts but gives no array of messages.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_HISTORY_LIMIT:
            raise InvalidCall(f"The limit is not a whole number from 1 to {MAX_HISTORY_LIMIT}.", field="limit")
        query: dict[str, object] = {"appkey": self._appkey, **target.as_fields(), "limit": limit}
        if before is not None:
            problem = timestamp_problem(before, now_ms=now_ms())
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
        """Send a message as `sender_id` to `("private", user)` or `("group", group)`, as `prepare_send()` has it."""
        prepared = prepare_send(
            sender_id=sender_id,
            to=to,
            type=type,
            payload=payload,
            sender_data=sender_data,
            to_data=to_data,
            notification=notification,
        )
        return self.perform(prepared)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        prepared: PreparedCall | None = None,
    ) -> _Reply | GoEasyError:
        """Make one call. An error is returned, not raised: raised here, its frames would hold the key."""
        if not re.fullmatch("[!-~]+", self._appkey):
            return InvalidCall("The key is empty or holds what no key holds.", field="appkey")
        if prepared and not prepared.is_sound:
            return InvalidCall("The prepared body does not begin with the place of the key.", field="appkey")
        received = self._session.exchange(
            method,
            self._base_url + path,
            query=query,
            body=prepared.content(self._appkey) if prepared else None,
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
