"""Errors of a call to GoEasy, distinguished by what they mean for its effect.

    GoEasyError            kind
    ├── InvalidCall        invalid_call         a rule of the documentation broken: nothing was sent
    ├── NotSent            name_unresolved, connection_refused, connect_timeout, tls_failed, proxy_failed,
    │   │                  unreachable          no byte of the request left: no effect
    │   └── NotAllowed     host_not_allowed, address_not_allowed
    │                                           GOEASY_ALLOWED_HOSTS does not list the host
    ├── NoAnswer           read_timeout, connection_lost, broken_answer, oversize
    │   │                                       the request, or part of it, left: the effect is unknown
    │   └── Unclear        unclear, failed      an inconclusive answer: the effect is unknown
    └── Refused            refused              answered with an error code, or without a code and
                                                with status 503 or 4xx other than 408

No message, argument, cause or context of these carries the key or a URL's query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moderation.goeasy.answers import Answer


class GoEasyError(Exception):
    """A call that was not accepted.

    `kind` is a stable slug from the table above; `latency_ms` is the duration of the call (ms), None if none was made.
    """

    kind = "error"

    def __init__(self, message: str, *, kind: str = "", latency_ms: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind or type(self).kind
        self.latency_ms = latency_ms


class InvalidCall(GoEasyError, ValueError):
    """A rule of docs/goeasy-api.md is broken; nothing was sent. `field` is GoEasy's name of the field."""

    kind = "invalid_call"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class NotSent(GoEasyError):
    """No byte of the request left for GoEasy: it is safe to send again."""

    kind = "unreachable"


class NotAllowed(NotSent):
    """The host is not allowed: nothing is sent until the application's host or GOEASY_ALLOWED_HOSTS changes."""

    kind = "host_not_allowed"


class NoAnswer(GoEasyError):
    """The request left, at least in part, and no conclusive answer came back.

    `http_status` is the status of an incomplete answer, else None.
    """

    kind = "connection_lost"

    def __init__(
        self, message: str, *, kind: str = "", latency_ms: int | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message, kind=kind, latency_ms=latency_ms)
        self.http_status = http_status


class Unclear(NoAnswer):
    """The complete `answer` does not show whether GoEasy acted.

    For example a page with status 200 and no code; or, with kind `failed`, GoEasy's own code 408 (time-out) or 500 and
    above.
    """

    kind = "unclear"

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            f"The answer (HTTP status {answer.http_status}) does not show what GoEasy did.",
            kind="" if answer.code is None or answer.accepted else "failed",
            latency_ms=answer.latency_ms,
            http_status=answer.http_status,
        )
        self.answer = answer


class Refused(GoEasyError):
    """GoEasy, or a proxy in front of it, refused the call: by the answer's code, else by status 4xx or 503.

    This does not prove that nothing was done; history shows that. `retry_after` is the number of seconds to wait before
    the next attempt, if the answer has a Retry-After header.
    """

    kind = "refused"

    def __init__(self, answer: Answer, *, retry_after: float | None = None) -> None:
        said = "no code" if answer.code is None else f"code {answer.code}"
        super().__init__(
            f"GoEasy refused the call with {said} (HTTP status {answer.http_status}).",
            latency_ms=answer.latency_ms,
        )
        self.answer = answer
        self.retry_after = retry_after

    @property
    def number(self) -> int:
        """The answer's code, else its HTTP status."""
        return self.answer.http_status if self.answer.code is None else self.answer.code
