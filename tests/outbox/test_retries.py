"""The retry policy: which calls are retried, after how long, and how often."""

from __future__ import annotations

import pytest

from moderation.goeasy.answers import Answer
from moderation.goeasy.errors import GoEasyError, InvalidCall, NoAnswer, NotSent, Refused, Unclear
from moderation.outbox import admission
from moderation.outbox.retries import FIRST_WAIT, MAX_ATTEMPTS, MAX_WAIT, Withdrawn, wait_before_retry


def refused(status: int, code: int | None = None, retry_after: float | None = None) -> Refused:
    return Refused(Answer(status, code, "", 5, is_malformed=code is None), retry_after=retry_after)


@pytest.mark.parametrize(
    "error",
    [
        NoAnswer("silence", kind="read_timeout"),
        NoAnswer("half", kind="broken_answer", http_status=200),
        Unclear(Answer(500, None, "", 5, is_malformed=True)),
        Unclear(Answer(200, 503, "", 5, is_malformed=False)),
        refused(503, 400),
        refused(401, 401),
        refused(403),
        refused(400, 400),
        refused(404),
        refused(200, 4711),
        InvalidCall("no", field="messages"),
    ],
)
def test_calls_that_may_have_had_an_effect_or_are_final_are_never_retried(error: GoEasyError) -> None:
    assert {wait_before_retry(error, tries) for tries in range(1, MAX_ATTEMPTS + 1)} == {None}


@pytest.mark.parametrize("error", [NotSent("no route"), refused(429), refused(503), refused(200, 429)])
def test_calls_without_an_effect_are_retried_a_bounded_number_of_times(error: GoEasyError) -> None:
    for tries in range(1, MAX_ATTEMPTS):
        wait = wait_before_retry(error, tries)
        assert wait is not None
        assert 0 <= wait <= min(MAX_WAIT, FIRST_WAIT * 2**tries)
    assert wait_before_retry(error, MAX_ATTEMPTS) is None


def test_the_waits_are_spread_over_the_whole_span() -> None:
    waits = [wait_before_retry(NotSent("no route"), 4) or 0.0 for _ in range(400)]
    most = FIRST_WAIT * 2**4
    assert min(waits) < 0.1 * most
    assert max(waits) > 0.9 * most


@pytest.mark.parametrize(("named", "wait"), [(0.0, 0.0), (3.5, 3.5), (-4.0, 0.0), (86_400.0, MAX_WAIT)])
def test_retry_after_is_respected_and_capped(named: float, wait: float) -> None:
    assert wait_before_retry(refused(503, retry_after=named), 1) == wait


def test_no_wait_outlasts_a_lease() -> None:
    assert MAX_WAIT < admission.LEASE


def test_a_withdrawn_call_is_retried_at_once_and_does_not_count() -> None:
    assert wait_before_retry(Withdrawn("told to end"), MAX_ATTEMPTS + 5) == 0.0
    assert Withdrawn.kind == "withdrawn"
