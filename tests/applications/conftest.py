"""Fixtures of the recalls' tests."""

from tests.recall.conftest import make_recall, messages, send  # noqa: F401
