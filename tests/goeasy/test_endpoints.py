"""An endpoint of GoEasy that the client calls is answered by the sandbox, documented and tested."""

from __future__ import annotations

import re
from pathlib import Path

from moderation.goeasy.sandbox import faults, server
from moderation.goeasy.sandbox.handler import ENDPOINTS

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
    document = (ROOT / "docs" / "goeasy-api.md").read_text(encoding="utf-8")
    undocumented = {path for path in PATHS if not re.search(rf"{path}\b(?!/)", document)}
    assert not undocumented, missing(undocumented, "is not described in docs/goeasy-api.md")
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_client*.py"))
    untested = {path for path in PATHS if not re.search(rf"{path}\b(?!/)", tests)}
    assert not untested, missing(untested, "has no test in tests/goeasy/test_client_*.py")
