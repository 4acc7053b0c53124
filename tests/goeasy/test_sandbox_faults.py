"""Faults of the sandbox over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from moderation.goeasy.sandbox import Sandbox
from tests.goeasy.sandbox_data import CONVERSATION, PAIR, T, text


@pytest.mark.parametrize(
    ("fault", "status", "code", "effect"),
    [
        ({"kind": "status", "status": 500}, 500, None, False),
        ({"kind": "status", "status": 429, "retry_after": 2}, 429, None, False),
        ({"kind": "refuse", "code": 403, "content": "no"}, 403, 403, False),
        ({"kind": "html"}, 502, None, False),
        ({"kind": "html", "status": 200, "effect": True}, 200, None, True),
        ({"kind": "redirect", "to": "http://127.0.0.1:9/"}, 302, None, False),
        ({"kind": "latency", "ms": 30}, 200, 200, True),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
def test_a_fault_changes_the_answer(
    sandbox: Sandbox, fault: dict[str, Any], status: int, code: int | None, effect: bool
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    sandbox.set_faults([{"on": "recall", **fault}])
    body = {"appkey": sandbox.appkey, **PAIR, "messages": [T]}
    url = f"{sandbox.url}/v2/im/history/recall"
    begin = time.monotonic()
    answer = requests.post(url, json=body, timeout=5, allow_redirects=False)
    assert time.monotonic() - begin >= fault.get("ms", 0) / 1000
    assert answer.status_code == status
    assert answer.headers.get("Location") == fault.get("to")
    assert answer.headers["Content-Type"].startswith("text/html") is (fault["kind"] == "html")
    assert answer.headers.get("Retry-After") == (str(fault["retry_after"]) if "retry_after" in fault else None)
    if code:
        assert answer.json()["code"] == code
    assert bool(sandbox.messages(CONVERSATION)[0].get("recalled")) is effect


@pytest.mark.parametrize(("kind", "effect"), [("drop_before", False), ("drop_after", True), ("half", True)])
def test_a_connection_breaks_before_or_after_the_effect(
    sandbox: Sandbox, recall: Callable[..., Any], kind: str, effect: bool
) -> None:
    sandbox.add_messages(CONVERSATION, [text(T)])
    sandbox.set_faults([{"on": "recall", "kind": kind}])
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        recall()
    assert bool(sandbox.messages(CONVERSATION)[0].get("recalled")) is effect


def test_a_fault_skips_and_affects_the_given_number_of_calls(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 418, "after": 1, "times": 2}])
    assert [recall().json()["code"] for _ in range(4)] == [200, 418, 418, 200]


def test_latency_combines_with_the_first_other_fault(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    sandbox.set_faults(
        [
            {"on": "recall", "kind": "latency", "ms": 60, "times": 2},
            {"on": "recall", "kind": "status", "status": 503, "after": 1, "times": 1},
            {"on": "*", "kind": "refuse", "code": 418, "times": 1},
        ]
    )
    for status, waits in ((418, 0.06), (503, 0.06), (200, 0)):
        begin = time.monotonic()
        assert recall().status_code == status
        assert time.monotonic() - begin >= waits
    assert [rule.times for rule in sandbox.faults.rules] == [0, 0, 0]


def test_a_fault_affects_its_endpoint_or_all(
    sandbox: Sandbox, recall: Callable[..., Any], history: Callable[..., Any], send: Callable[..., Any]
) -> None:
    sandbox.set_faults([{"on": "history", "kind": "refuse", "code": 418}])
    assert [call().status_code for call in (recall, history, send)] == [200, 418, 200]
    sandbox.set_faults([{"kind": "refuse", "code": 418}])
    assert [call().status_code for call in (recall, history, send)] == [418, 418, 418]


def test_faults_can_be_set_over_http(sandbox: Sandbox, recall: Callable[..., Any]) -> None:
    url = f"{sandbox.url}/sandbox/faults"
    assert requests.post(url, json={"rules": [{"kind": "unknown"}]}, timeout=5).status_code == 400
    assert requests.post(url, json={"rules": [{"on": "recall", "kind": "refuse"}]}, timeout=5).status_code == 200
    assert recall().json()["code"] == 401
    requests.delete(url, timeout=5)
    assert recall().json()["code"] == 200


@pytest.mark.parametrize(
    "rule",
    [
        "latency",
        {},
        {"kind": []},
        {"kind": "refuse", "on": ["recall"]},
        {"kind": "refuse", "on": "recal"},
        {"kind": "latency"},
        {"kind": "latency", "ms": "50"},
        {"kind": "latency", "ms": -1},
        {"kind": "latency", "seconds": 1},
        {"kind": "status", "status": True},
        {"kind": "status", "status": 42},
        {"kind": "status", "retry_after": "soon"},
        {"kind": "refuse", "code": 50_001},
        {"kind": "redirect"},
        {"kind": "drop_before", "effect": True},
        {"kind": "half", "times": "2"},
        {"kind": "half", "after": None},
    ],
    ids=json.dumps,
)
def test_an_invalid_fault_is_refused_when_it_is_set(sandbox: Sandbox, recall: Callable[..., Any], rule: Any) -> None:
    url = f"{sandbox.url}/sandbox/faults"
    requests.post(url, json={"rules": [{"kind": "refuse", "code": 418}]}, timeout=5).raise_for_status()
    answer = requests.post(url, json={"rules": [rule]}, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert recall().json()["code"] == 418  # the former fault is still active
