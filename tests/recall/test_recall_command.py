"""`manage.py recall`: the service of the browser, on the command line."""

from __future__ import annotations

import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from moderation.audit.models import AuditEntry
from recall import services
from recall.forms import RecallForm
from recall.management.commands.recall import OPTIONS, Command
from recall.models import Recall

pytestmark = pytest.mark.django_db(transaction=True)

FIRST = 1_700_000_000_000


@pytest.fixture(autouse=True)
def cast(connected: Any, reason: Any, moderator: Any, lead: Any, auditor: Any) -> None:
    """Who acts, why, and on which application."""


def run(*arguments: str, stdin: str = "", monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    if monkeypatch:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    try:
        call_command("recall", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


PAIR = ("--user-a", "u2", "--user-b", "u1", "--actor", "mo", "--reason", "spam")
# The last of two actors counts.
AS_LEAD = (*PAIR, "--actor", "lea")


def test_45_timestamps_make_three_documented_calls(sandbox: Any) -> None:
    timestamps = [FIRST + number for number in range(45)]
    status, out, _err = run(
        *AS_LEAD,
        *("--recaller-id", "support", "--recaller-data", '{"name": "Wallace"}'),
        *("--wait", "--json"),
        *map(str, timestamps),
    )
    assert status == 0
    document = json.loads(out)
    assert {name: document[name] for name in ("state", "timestamps", "calls", "accepted", "unknown")} == {
        "state": "finished",
        "timestamps": 45,
        "calls": 3,
        "accepted": 45,
        "unknown": 0,
    }
    assert document["batches"][2] == {
        "index": 2,
        "timestamps": timestamps[40:],
        "state": "accepted",
        "http_status": 200,
        "response_code": 200,
        "response_content": "OK",
        "attempts": 1,
    }
    bodies = sorted((call["body"] for call in sandbox.calls("recall")), key=lambda body: body["messages"][0])
    common = {
        "appkey": "valid",
        "recaller": {"id": "support", "data": {"name": "Wallace"}},
        "userAId": "u1",
        "userBId": "u2",
    }
    assert bodies == [
        {**common, "messages": timestamps[:20]},
        {**common, "messages": timestamps[20:40]},
        {**common, "messages": timestamps[40:]},
    ]


def test_a_group_is_named_by_its_id_alone_and_nobody_recalls(sandbox: Any) -> None:
    status, _out, _err = run("--group", "g", "--actor", "mo", "--reason", "spam", "--wait", str(FIRST))
    assert status == 0
    assert [call["body"] for call in sandbox.calls("recall")] == [
        {"appkey": "valid", "groupId": "g", "messages": [FIRST]}
    ]


def test_a_dry_run_shows_the_calls_and_stores_and_sends_nothing(sandbox: Any) -> None:
    status, out, _err = run(*PAIR, "--dry-run", "--json", str(FIRST))
    assert status == 0
    assert json.loads(out)["bodies"][0]["messages"] == [FIRST]
    assert sandbox.appkey not in out
    assert (Recall.objects.count(), AuditEntry.objects.count(), sandbox.calls("recall")) == (0, 0, [])


def test_timestamps_come_from_a_file_or_from_standard_input(
    sandbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{FIRST},{FIRST + 1}\n", encoding="utf-8-sig")
    assert run(*PAIR, "--wait", "--file", str(file), str(FIRST + 2))[0] == 0
    assert run(*PAIR, "--wait", "--file", "-", stdin=f"{FIRST + 5}", monkeypatch=monkeypatch)[0] == 0
    assert [call["body"]["messages"] for call in sandbox.calls("recall")] == [
        [FIRST, FIRST + 1, FIRST + 2],
        [FIRST + 5],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*PAIR,), "timestamps"),
        ((*PAIR, "1594958217"), "seconds"),
        ((*PAIR, "--group", "g", str(FIRST)), "not both"),
        (("--user-a", "a", "--actor", "mo", "--reason", "spam", str(FIRST)), "--user-b"),
        (("--group", "g", "--actor", "nobody", "--reason", "spam", str(FIRST)), "--actor"),
        (("--group", "g", "--actor", "audrey", "--reason", "spam", str(FIRST)), "--actor"),
        (("--group", "g", "--actor", "mo", "--reason", "boredom", str(FIRST)), "--reason"),
        ((*PAIR, "--app", "nowhere", str(FIRST)), "--app"),
        ((*AS_LEAD, "--recaller-data", "{", str(FIRST)), "--recaller-data"),
        ((*PAIR, "--file", "no/such/file"), "--file"),
    ],
)
def test_bad_input_ends_with_2_named_and_nothing_is_stored_or_sent(
    sandbox: Any, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert (Recall.objects.count(), sandbox.calls()) == (0, [])


def test_a_refusal_ends_with_1(sandbox: Any) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "refuse", "code": 401, "content": "Unauthorized"}])
    status, out, err = run(*PAIR, "--wait", "--json", str(FIRST))
    assert status == 1
    assert json.loads(out)["batches"][0]["response_code"] == 401
    assert "refused the key" in err or json.loads(out)["state"] == "stopped"


def test_a_lost_answer_ends_with_3(sandbox: Any) -> None:
    sandbox.set_faults([{"on": "recall", "kind": "drop_after"}])
    status, out, _err = run(*PAIR, "--wait", "--json", str(FIRST))
    assert status == 3
    assert json.loads(out)["unknown"] == 1


def test_without_wait_the_worker_is_left_to_send_it(sandbox: Any) -> None:
    status, out, _err = run(*PAIR, "--json", str(FIRST))
    assert (status, json.loads(out)["state"]) == (0, "waiting")
    assert sandbox.calls("recall") == []


def test_the_command_passes_on_all_that_its_form_has_read(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: dict[str, Any] = {}
    wanted = set(inspect.signature(services.request_recall).parameters) - {"seen"}
    request_recall = services.request_recall
    monkeypatch.setattr(services, "request_recall", lambda **fields: passed.update(fields) or request_recall(**fields))
    run(*PAIR, str(FIRST))
    lost = wanted - set(passed)
    assert not lost, f"`manage.py recall` reads {lost} and drops it: request_recall() is called without."


def test_an_error_of_every_field_names_an_option() -> None:
    unnamed = set(RecallForm.base_fields) - set(OPTIONS) - {"kind", "timestamps", "submission", "typed_count", "shown"}
    assert not unnamed, f"OPTIONS in recall/management/commands/recall.py lacks {unnamed}"


def test_the_document_has_every_option_of_the_command() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "interface.md").read_text(encoding="utf-8")
    described = document.partition("### recall\n")[2].partition("\n### ")[0]
    parser = Command().create_parser("manage.py", "recall")
    common = re.findall(r"--[\w-]+", "--help --version --verbosity --settings --pythonpath --traceback --no-color")
    common += ["--force-color", "--skip-checks"]
    options = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    lost = {name for name in options - set(common) if not re.search(rf"{name}\b", described)}
    assert not lost, f"docs/interface.md, “recall”, lacks {lost}"
