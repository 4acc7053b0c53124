"""Fixtures for tests of the desk."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.recall.conftest import make_recall, messages, send

__all__ = ["make_recall", "messages", "send"]


@pytest.fixture
def mo(client: Client, moderator: Any) -> Client:
    client.force_login(moderator)
    return client
