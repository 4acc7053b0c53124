"""A test of the connection to GoEasy: one read of history that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from moderation.applications.models import Application
from moderation.applications.problems import problem_message
from moderation.audit.request_context import current_actor
from moderation.audit.services import record
from moderation.goeasy.client import Private
from moderation.goeasy.errors import GoEasyError
from moderation.ingestion.events import ConnectionTested
from moderation.outbox import admission

# Two users that no app has: their history is empty.
NOBODY = Private("moderation-console-test-1", "moderation-console-test-2")
# Seconds for GoEasy's answer, and for its turn: a person waits.
READ_TIMEOUT, PATIENCE = 10, 5


@dataclass(frozen=True)
class ConnectionResult:
    """Whether GoEasy answered and took the key, and that in a sentence."""

    is_ok: bool
    message: str


def test(application: Application) -> ConnectionResult:
    """Read the history of nobody with the application's saved key; record it, and say what came of it."""
    problem, fields = application.key_problem, dict[str, Any]()
    if not problem:
        try:
            admission.wait_for_pace(application, patience=PATIENCE)
            with application.client(read_timeout=READ_TIMEOUT) as client:
                answer: Any = client.history(target=NOBODY, limit=1).answer
        except GoEasyError as error:
            problem, answer = error.kind, getattr(error, "answer", None)
            fields["latency_ms"] = error.latency_ms
        if answer:
            fields = {
                "http_status": answer.http_status,
                "response_code": answer.code,
                "latency_ms": answer.latency_ms,
            }
    record(ConnectionTested(actor=current_actor(), app=application.slug, problem=problem or None, **fields))
    if not problem:
        text = _(
            "GoEasy answered within %(latency)s ms and accepted the key for reading. Nothing was changed. Whether the "
            "key may recall, too, manage.py goeasy_check tells."
        )
        return ConnectionResult(True, text % {"latency": fields["latency_ms"]})
    message = _("The connection does not work: %(why)s") % {"why": problem_message(problem)}
    if (code := fields.get("response_code")) is not None:
        message += " " + _("GoEasy’s code: %(code)s.") % {"code": code}
    return ConnectionResult(False, message)
