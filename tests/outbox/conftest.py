"""The outbox with recalls as its effect, and with one of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.outbox.calls import disagreements
from tests.recall.conftest import make_recall, messages, request_recall, send

__all__ = ["make_recall", "messages", "request_recall", "send"]


@pytest.fixture(autouse=True)
def rows_agree_in_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test that call, attempts, batch and recall agree."""
    if not request.node.get_closest_marker("django_db") and "db" not in request.fixturenames:
        yield
        return
    # Request the database first, so that it still exists after the test.
    request.getfixturevalue("transactional_db" if is_transactional(request) else "db")
    yield
    assert disagreements() == []


def is_transactional(request: pytest.FixtureRequest) -> bool:
    """Whether the test commits what it writes."""
    marker = request.node.get_closest_marker("django_db")
    return bool(marker and marker.kwargs.get("transaction")) or "transactional_db" in request.fixturenames
