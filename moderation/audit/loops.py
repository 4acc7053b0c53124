"""The audit log's periodic work in every worker."""

from __future__ import annotations

import logging

from django.db import Error, connection

from moderation.audit import alarms
from moderation.audit.ledger import checkpoints
from moderation.audit.ledger.signing import SigningKeyError
from moderation.audit.models import AuditAlarm
from moderation.audit.verifier import BrokenError

log = logging.getLogger(__name__)


class Signer:
    """Signs and publishes checkpoints when they are due. Keeps one that could not be published yet."""

    def __init__(self) -> None:
        self._unpublished = ""

    def sign(self) -> None:
        """Run one round. Raise an alarm if the log cannot be signed."""
        try:
            self._unpublished = checkpoints.sign_and_publish(self._unpublished)
        except BrokenError as problem:
            log.critical("the audit log is BROKEN and is not signed: %s", problem)
            raise_alarm(AuditAlarm.Problem.BROKEN)
        except SigningKeyError as problem:
            log.critical("the audit log is not signed: %s", problem)
            raise_alarm(problem.problem)


def raise_alarm(problem: AuditAlarm.Problem) -> None:
    """Raise an alarm of the audit log. An unreachable database must not end the round."""
    try:
        alarms.raise_alarm(problem)
    except Error:
        log.exception("the audit log's alarm was not raised; trying again")
        connection.close()
