"""What can go wrong in a call to GoEasy, told apart by what it means for the effect.

    GoEasyError            kind
    ├── InvalidCall        invalid_call         a rule of the documentation broken: nothing was sent
    ├── NotSent            name_unresolved, connection_refused, connect_timeout, tls_failed, proxy_failed,
    │   │                  unreachable          not one byte of the request left: surely no effect
    │   └── NotAllowed     host_not_allowed, address_not_allowed
    │                                           GOEASY_ALLOWED_HOSTS does not list where it should have gone
    ├── NoAnswer           read_timeout, connection_lost, broken_answer, oversize
    │   │                                       the request, or part of it, left: the effect is unknown
    │   └── Unclear        unclear, failed      answered, but the answer does not tell: the effect is unknown
    └── Refused            refused              answered with a code that says no, or with none and a status
                                                that says so: 4xx but 408, 503

No message, argument, cause or context of these carries the key or a URL's query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moderation.goeasy.answers import Answer


class GoEasyError(Exception):
    """A call that was not accepted.

    `kind` is a short stable slug of the table above; `latency_ms` is how long the call took (ms), None when none
    was made.
    """

    kind = "error"

    def __init__(self, message: str, *, kind: str = "", latency_ms: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind or type(self).kind
        self.latency_ms = latency_ms


class InvalidCall(GoEasyError, ValueError):
    """A rule of docs/goeasy-api.md broken, found before the network. `field` names the field as GoEasy does."""

    kind = "invalid_call"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class NotSent(GoEasyError):
    """Nothing of the request left for GoEasy: sent again, it does nothing twice."""

    kind = "unreachable"


class NotAllowed(NotSent):
    """Nothing left, and nothing will until somebody changes the application's host or GOEASY_ALLOWED_HOSTS."""

    kind = "host_not_allowed"


class NoAnswer(GoEasyError):
    """The request left, at least in part, and no answer that tells of its effect came back.

    `http_status` is what was read of an answer that broke off, else None.
    """

    kind = "connection_lost"

    def __init__(
        self, message: str, *, kind: str = "", latency_ms: int | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message, kind=kind, latency_ms=latency_ms)
        self.http_status = http_status


class Unclear(NoAnswer):
    """A whole `answer` came, and does not tell whether GoEasy acted.

    A success page without a code, say; or, of kind `failed`, GoEasy's own code 408 (time-out), or 500 and above.
    """

    kind = "unclear"

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            f"The answer (HTTP status {answer.http_status}) does not tell what GoEasy did.",
            kind="" if answer.code is None or answer.accepted else "failed",
            latency_ms=answer.latency_ms,
            http_status=answer.http_status,
        )
        self.answer = answer


class Refused(GoEasyError):
    """GoEasy, or what stands before it, said no in `answer`: by its code, else by status 4xx or 503.

    It is no proof that nothing was done: history is read for that. `retry_after`: seconds to wait before another try,
    when the answer names them (Retry-After, either form).
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
