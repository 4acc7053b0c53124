"""Recalls, as the tests of recalls make them."""

from tests.recall.conftest import make_recall, messages, send  # noqa: F401
