"""Fixtures for the tests of the GoEasy client and of the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from moderation.goeasy.client import Client
from moderation.goeasy.sandbox import Sandbox
from tests.goeasy.client_helpers import KEY
from tests.goeasy.raw_server import Server
from tests.goeasy.sandbox_data import PAIR, T


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


@pytest.fixture
def other_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


@pytest.fixture
def goeasy(server: Server) -> Iterator[Client]:
    with Client(appkey=KEY, rest_host=server.url, connect_timeout=2, read_timeout=2) as client:
        yield client


@pytest.fixture
def recall(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """A function that posts a recall of one message of the pair, with changed fields (None omits one)."""

    def post(headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
        body = {"appkey": sandbox.appkey, **PAIR, "messages": [T], **fields}
        return requests.post(
            f"{sandbox.url}/v2/im/history/recall",
            data=json.dumps({name: value for name, value in body.items() if value is not None}),
            headers=headers or {"Content-Type": "application/json"},
            timeout=5,
        )

    return post


@pytest.fixture
def history(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """A function that requests the pair's history."""

    def get(**query: Any) -> requests.Response:
        return requests.get(
            f"{sandbox.url}/v2/im/history", params={"appkey": sandbox.appkey, **PAIR, **query}, timeout=5
        )

    return get


@pytest.fixture
def send(sandbox: Sandbox) -> Callable[..., requests.Response]:
    """A function that sends a text from a to b, with changed fields."""

    def post(**fields: Any) -> requests.Response:
        body = {
            "appkey": sandbox.appkey,
            "senderId": "a",
            "to": {"type": "private", "id": "b"},
            "type": "text",
            "payload": {"text": "你好"},
            **fields,
        }
        return requests.post(f"{sandbox.url}/v2/im/message", json=body, timeout=5)

    return post
