"""An endpoint of GoEasy that the client calls is answered by the sandbox, documented and tested."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from moderation.goeasy.client import Answer, Client
from moderation.goeasy.errors import Unclear
from moderation.goeasy.sandbox import faults, rules, server
from moderation.goeasy.sandbox.handler import ENDPOINTS
from tests.goeasy.raw_server import Server, http
from tests.goeasy.test_client_key import CALLS

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "moderation" / "goeasy"
PATHS = {
    path for file in CLIENT.glob("*.py") for path in re.findall(r'"(/v2/[\w/]+)"', file.read_text(encoding="utf-8"))
}


def missing(paths: set[str], what: str) -> str:
    return "; ".join(f"{path} {what}" for path in sorted(paths))


def test_the_sandbox_answers_every_endpoint_of_the_client() -> None:
    assert len(PATHS) >= 3
    unanswered = PATHS - {path for _method, path in ENDPOINTS}
    assert not unanswered, missing(unanswered, "is not answered by the sandbox (ENDPOINTS in sandbox/handler.py)")
    for name in ENDPOINTS.values():
        assert hasattr(server.Sandbox, name), f"sandbox/server.py: Sandbox has no method {name}()"


def test_faults_can_be_set_for_every_endpoint_of_the_sandbox() -> None:
    assert {*ENDPOINTS.values(), "*"} == faults.ENDPOINTS, (
        "ENDPOINTS of sandbox/faults.py and sandbox/handler.py differ"
    )


def test_every_endpoint_is_documented_and_tested() -> None:
    # What stands below the last heading the console does not use.
    document = (
        (ROOT / "docs" / "goeasy-api.md").read_text(encoding="utf-8").partition("## What GoEasy does not offer")[0]
    )
    undocumented = {path for path in PATHS if not re.search(rf"{path}\b(?!/)", document)}
    assert not undocumented, missing(undocumented, "is not described in docs/goeasy-api.md, above what is not used")
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_client*.py"))
    untested = {path for path in PATHS if not re.search(rf"{path}\b(?!/)", tests)}
    assert not untested, missing(untested, "has no test in tests/goeasy/test_client_*.py")


def test_the_sandbox_has_rules_for_every_endpoint_and_each_is_tested() -> None:
    tests = [*Path(__file__).parent.glob("test_sandbox*.py"), Path(__file__).with_name("conftest.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in tests)
    source = (CLIENT / "sandbox" / "server.py").read_text(encoding="utf-8")
    for (_method, path), name in ENDPOINTS.items():
        assert hasattr(rules, f"check_{name}"), f"sandbox/rules.py has no check_{name}(): {path} takes anything."
        assert f"rules.check_{name}(" in source, f"sandbox/server.py: {name}() does not ask rules.check_{name}()."
        assert f'{path}"' in text, f"{path} of the sandbox has no test in tests/goeasy/test_sandbox*.py."


def test_every_call_of_the_client_is_tried_for_leaks_and_with_bad_values() -> None:
    calls = {name for name, value in vars(Client).items() if callable(value) and not name.startswith("_")}
    calls -= {"close", "perform"}
    leaking = calls - set(CALLS)
    assert not leaking, f"Add {leaking} to CALLS in tests/goeasy/test_client_key.py: the key may be in its errors."
    tests = Path(__file__).with_name("test_client_requests.py").read_text(encoding="utf-8")
    untried = {name for name in calls if f"lambda c: c.{name}(" not in tests}
    assert not untried, f"test_an_invalid_call_names_its_field_and_sends_nothing does not try: {untried}"


def test_the_document_of_the_sandbox_names_every_endpoint() -> None:
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"answers GoEasy's ([^.]*) over real HTTP", document)
    lost = [name for name in ENDPOINTS.values() if not re.search(rf"\b{name}\b", sentence)]
    assert not lost, f"docs/operations.md does not say that the sandbox answers: {lost}"


READS = [name for name in CALLS if get_type_hints(getattr(Client, name))["return"] is not Answer]


@pytest.mark.parametrize("content", [b"", b',"content":null', b',"content":"OK"', b',"content":7'])
@pytest.mark.parametrize("call", READS)
def test_a_read_that_is_accepted_without_what_was_read_is_unclear_and_not_empty(
    server: Server, goeasy: Client, call: str, content: bytes
) -> None:
    server.answers_with(http(b'{"code":200' + content + b"}"))

    with pytest.raises(Unclear):
        CALLS[call](goeasy)
