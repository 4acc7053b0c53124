"""Fixtures of recalls for tests of ingestion."""

from tests.recall.conftest import make_recall, messages, send  # noqa: F401
