"""Requesting a recall: the form, the review, the confirmation."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.accounts.models import Pseudonym, User
from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.audit.models import AuditEntry
from recall import services
from recall.forms import RecallForm
from recall.management.commands.recall import Command
from recall.models import Evidence, Recall, RecallReason
from recall.views.review import PREVIEW_SHOWN

from .reviewing import confirm, review

FIRST = 1_700_000_000_000
NEW = "/recalls/new/"


@pytest.fixture
def signed_in(client: Client, lead: Any, private: Any, reason: Any) -> Client:
    """A lead, who may choose what app users see as the recaller."""
    client.force_login(lead)
    return client


def form(count: int = 2, **fields: Any) -> dict[str, Any]:
    return {
        "app": "default",
        "kind": "private",
        "user_a": "user-a",
        "user_b": "user-b",
        "group_id": "",
        "timestamps": " ".join(str(FIRST + number) for number in range(count)),
        "reason": "spam",
        "note": "",
        "recaller_id": "support-7",
        "recaller_data": "",
        "submission": str(uuid.uuid4()),
        **fields,
    }


@pytest.fixture
def archived(private: Any, make_message: Callable[..., Any]) -> Callable[[int], None]:
    """A function that puts the form's messages into the archive, so that nothing has to be looked up."""

    def put(count: int) -> None:
        for number in range(count):
            make_message(private, FIRST + number)

    return put


def test_the_language_cannot_be_changed_where_that_would_lose_the_form(
    signed_in: Client, archived: Callable[[int], None]
) -> None:
    archived(2)
    switch = f'action="{reverse("set-language")}"'
    assert switch in signed_in.get(NEW).content.decode()
    for posted in (form(), form(timestamps="x"), form(edit="1")):
        response = signed_in.post(NEW, posted)
        assert response.status_code == 200
        assert switch not in response.content.decode()


def test_the_address_fills_the_form(signed_in: Client) -> None:
    query = {
        "app": "default",
        "kind": "group",
        "group_id": "g<1>",
        "timestamps": f"{FIRST},{FIRST + 1}",
        "reason": "spam",
    }
    page = signed_in.get(NEW, query).content.decode()
    assert 'value="g&lt;1&gt;"' in page
    assert f"{FIRST},{FIRST + 1}</textarea>" in page
    assert '<option value="spam" selected>' in page
    assert not Recall.objects.exists()


def test_the_persons_pseudonym_is_proposed_and_never_the_user_name(
    signed_in: Client, application: Any, lead: Any
) -> None:
    Pseudonym.objects.create(
        application=application, user=lead, recaller_id="support-7", recaller_data={"name": "客服"}
    )
    initial = signed_in.get(NEW).context["form"].initial
    assert initial["recaller_id"] == "support-7"
    assert json.loads(initial["recaller_data"]) == {"name": "客服"}


def test_review_shows_what_goes_and_stores_no_recall(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(2)
    page = signed_in.post(NEW, form(note="<b>why</b>")).content.decode()
    assert f"message at {FIRST}" in page
    assert "&quot;id&quot;: &quot;support-7&quot;" in page
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert f"&quot;messages&quot;: [{FIRST}, {FIRST + 1}]" in page
    assert not Recall.objects.exists()
    # Showing the messages is recorded, and nothing else.
    opened = AuditEntry.objects.get()
    assert (opened.action, opened.user_a, opened.detail["page"]) == ("conversation.opened", "user-a", "recall: review")


def test_the_key_is_masked_in_the_calls_that_are_shown(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(2)
    page = signed_in.post(NEW, form()).content.decode()
    assert "appkey" in page
    assert "BC-0123456789abcdef" not in page


def test_the_review_warns_of_timestamps_that_the_archive_lacks(signed_in: Client) -> None:
    page = signed_in.post(NEW, form(1)).content.decode()
    assert "1 message is not in the archive: no evidence will be kept of it." in page
    assert "GoEasy’s history could not be read" in page


def test_two_messages_of_one_timestamp_are_pointed_out(
    signed_in: Client, private: Any, make_message: Callable[..., Any]
) -> None:
    make_message(private, FIRST, senderId="user-a")
    make_message(private, FIRST, senderId="user-b")
    page = signed_in.post(NEW, form(1)).content.decode()
    assert "1 timestamp belongs to more than one message." in page
    assert page.count("shares its timestamp") == 2


def test_the_review_reports_dropped_duplicates(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(1)
    page = signed_in.post(NEW, form(timestamps=f"{FIRST}，{FIRST}\n")).content.decode()
    assert "1 timestamp was given twice and counts once." in page


def test_confirmed_it_is_one_recall_with_evidence_and_leads_to_its_page(
    signed_in: Client, archived: Callable[[int], None], lead: Any
) -> None:
    archived(2)
    answer = confirm(signed_in, NEW, form())
    recall = Recall.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, recall.get_absolute_url())
    assert recall.actor == lead
    assert recall.recaller_id == "support-7"
    assert recall.items.count() == Evidence.objects.count() == 2


def test_the_review_page_posts_exactly_the_reviewed_fields(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(3)
    data = '{"name": "客服 \\"1\\""}'
    confirm(signed_in, NEW, form(3, note="two\nlines", recaller_data=data))
    recall = Recall.objects.get()
    assert recall.recaller_data == {"name": '客服 "1"'}
    assert recall.note.splitlines() == ["two", "lines"]
    assert list(recall.items.values_list("timestamp", flat=True)) == [FIRST, FIRST + 1, FIRST + 2]


def test_the_same_form_twice_is_one_recall(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(2)
    twice = review(signed_in, NEW, form())
    first, second = (signed_in.post(NEW, twice) for _ in range(2))
    assert first["Location"] == second["Location"]
    assert Recall.objects.count() == 1


@pytest.mark.parametrize("typed", ["", "20", "22", "yes"])
def test_more_than_20_do_not_go_before_their_number_is_typed(
    signed_in: Client, archived: Callable[[int], None], typed: str
) -> None:
    archived(21)
    page = confirm(signed_in, NEW, form(21), typed_count=typed).content.decode()
    assert "Type 21 to confirm the number of messages." in page
    assert not Recall.objects.exists()


def test_more_than_20_go_once_their_number_is_typed(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(21)
    page = signed_in.post(NEW, form(21)).content.decode()
    assert "Type 21, the number of messages, to confirm" in page
    assert confirm(signed_in, NEW, form(21), typed_count="21").status_code == 303


def test_20_need_no_number(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(20)
    assert "typed_count" not in signed_in.post(NEW, form(20)).content.decode()
    assert confirm(signed_in, NEW, form(20)).status_code == 303


def test_nothing_destructive_has_the_focus(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(1)
    page = signed_in.post(NEW, form(1)).content.decode()
    assert "autofocus" not in page[page.index('<main id="main"') : page.index("</main>")]


def test_change_leads_back_to_the_conversation_with_everything_as_it_was(
    signed_in: Client, archived: Callable[[int], None], private: Conversation
) -> None:
    archived(3)
    page = signed_in.post(NEW, form(note="keep me")).content.decode()
    assert f'formaction="{private.get_absolute_url()}"' in page
    fields = {**form(note="keep me"), "timestamps": f"{FIRST} {FIRST + 1}"}
    page = signed_in.post(private.get_absolute_url(), fields).content.decode()
    assert re.search(r"keep me\s*</textarea>", page)
    assert re.search(r'value="spam" selected', page)
    assert re.findall(r'value="(\d{13})"[^>]*checked', page) == [str(FIRST), str(FIRST + 1)]
    assert not Recall.objects.exists()


def test_a_review_shows_what_stands_beside_what_goes(
    signed_in: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number in range(9):
        make_message(private, FIRST + number, payload={"text": f"word-{number}"})
    # 2 and 3 go, and 7: of the others 1, 4, 6 and 8 stand beside them.
    fields = {**form(), "timestamps": f"{FIRST + 2} {FIRST + 3} {FIRST + 7}"}
    page = signed_in.post(NEW, fields).content.decode()
    lines = re.findall(r'<li class="(neighbour|)">.*?word-(\d)', page, re.DOTALL)
    assert [int(number) for kind, number in lines if kind] == [1, 4, 6, 8]
    assert [int(number) for kind, number in lines if not kind] == [2, 3, 7]


def test_what_a_long_review_does_not_list_is_not_said_to_stay(
    signed_in: Client, private: Conversation, make_message: Callable[..., Message]
) -> None:
    for number in range(PREVIEW_SHOWN + 2):
        make_message(private, FIRST + number, payload={"text": f"word-{number}."})
    page = signed_in.post(NEW, form(PREVIEW_SHOWN + 1)).content.decode()
    assert 'class="neighbour"' not in page


def test_the_sheet_is_the_review_alone(signed_in: Client, archived: Callable[[int], None]) -> None:
    archived(2)
    response = signed_in.post(NEW, form(2), headers={"HX-Request": "true"})
    assert "<html" not in response.content.decode()
    assert "HX-Request" in response.headers["Vary"]
    # A mistake has a page of its own.
    response = signed_in.post(NEW, {**form(2), "reason": ""}, headers={"HX-Request": "true"})
    assert "<html" in response.content.decode()


def test_a_person_may_have_longer_to_cancel_but_not_less_than_the_console_says(moderator: User, settings: Any) -> None:
    settings.RECALL_GRACE_SECONDS = 7
    graces = []
    for moderator.grace_seconds in (0, 5, 20):
        graces.append(services.grace_of(moderator))
    assert graces == [7, 7, 20]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("timestamps", {"timestamps": ""}),
        ("timestamps", {"timestamps": "abc"}),
        ("timestamps", {"timestamps": "1700000000"}),
        ("timestamps", {"timestamps": "1700000000000.5"}),
        ("timestamps", {"timestamps": "9999999999999"}),
        ("timestamps", {"timestamps": " ".join(str(FIRST + number) for number in range(5_001))}),
        ("user_b", {"user_b": ""}),
        ("user_a", {"user_a": "x" * 256}),
        ("recaller_data", {"recaller_data": "[1]"}),
        ("recaller_data", {"recaller_data": json.dumps({"name": "x" * 2048})}),
        ("reason", {"reason": ""}),
        ("reason", {"reason": "no-such-reason"}),
    ],
)
@pytest.mark.parametrize("confirm", [{}, {"confirm": "1"}])
def test_bad_input_gets_the_form_again_with_the_field_named(
    signed_in: Client, field: str, change: dict[str, str], confirm: dict[str, str]
) -> None:
    answer = signed_in.post(NEW, form(**change, **confirm))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert f'id="id_{field}_error"' in page
    assert "Nothing was sent." in page
    assert not Recall.objects.exists()
    assert Conversation.objects.count() == 1


def test_both_kinds_at_once_are_refused(signed_in: Client) -> None:
    page = signed_in.post(NEW, form(group_id="g")).content.decode()
    assert "Give two user ids or one group id, not both" in page


def test_an_auditor_cannot_open_the_form(client: Client, auditor: Any) -> None:
    client.force_login(auditor)
    assert client.get(reverse("recall-new")).status_code == 403
    assert client.post(reverse("recall-new"), form(confirm="1")).status_code == 403
    assert not Recall.objects.exists()


def test_the_review_posts_every_field_of_the_form_back(signed_in: Client, lead: Any) -> None:
    posted = review(signed_in, NEW, form())
    lost = set(RecallForm(actor=lead).fields) - set(posted) - {"typed_count"}
    assert not lost, f"The review does not post back: {lost} (templates/recall/pages/recall_review.html)"


def test_both_forms_offer_every_field_of_a_recall(
    signed_in: Client, lead: Any, private: Conversation, archived: Callable[[int], None]
) -> None:
    archived(2)
    wanted = set(RecallForm(actor=lead).fields) - {"typed_count", "shown"}
    for address in (NEW, private.get_absolute_url()):
        offered = set(re.findall(r'\sname="(\w+)"', signed_in.get(address).content.decode()))
        assert wanted <= offered, f"{address} does not offer: {wanted - offered}"


# What each field of a recall holds in the two tests below.
MARKED: dict[str, Any] = {
    "app": "default",
    "kind": "group",
    "user_a": "",
    "user_b": "",
    "group_id": "marked-group",
    "timestamps": f"{FIRST + 7}",
    "reason": "other",
    "note": "marked note",
    "recaller_id": "marked-recaller",
    "recaller_data": '{"name": "marked name"}',
}
# What the review and the recall's page show of it.
SHOWN = {
    "app": "<dd>Shop</dd>",
    "kind": ">group<",
    "group_id": "marked-group",
    "timestamps": f"{FIRST + 7}",
    "reason": "Other reason",
    "note": "marked note",
    "recaller_id": "marked-recaller",
    "recaller_data": "marked name",
}
# Of a group there are no users; the others belong to the form.
NOT_SHOWN = {"user_a", "user_b", "submission", "typed_count", "shown"}


def without_hidden_fields(page: str) -> str:
    return re.sub(r'<input\s+type="hidden"[^>]*>', "", page)


def test_the_review_and_the_recalls_page_show_every_field(signed_in: Client, lead: Any) -> None:
    forgotten = set(RecallForm(actor=lead).fields) - set(SHOWN) - NOT_SHOWN
    assert not forgotten, f"Add {sorted(forgotten)} to MARKED and SHOWN, and to the templates of both pages."
    RecallReason.objects.update_or_create(code="other", defaults={"label_en": "Other reason"})
    Application.objects.update(name="Shop")
    data = form(**MARKED)
    reviewed = without_hidden_fields(signed_in.post(NEW, data).content.decode())
    answer = confirm(signed_in, NEW, data)
    assert answer.status_code == 303, (
        "Confirmed as it was shown, it is refused: what calls of_recall() leaves a field out."
    )
    made = signed_in.get(Recall.objects.get().get_absolute_url()).content.decode()
    for page, name in ((reviewed, "review"), (made, "page of the recall")):
        lost = [field for field, text in SHOWN.items() if text not in page]
        assert not lost, f"The {name} does not show: {lost}"


@pytest.mark.parametrize("field", MARKED)
def test_a_form_that_was_changed_and_sent_again_makes_nothing_and_says_so(
    signed_in: Client, application: Application, archived: Callable[[int], None], lead: Any, field: str
) -> None:
    untried = set(RecallForm(actor=lead).fields) - set(MARKED) - {"submission", "typed_count", "shown"}
    assert not untried, f"Add {sorted(untried)} to MARKED, and to recall/services.py (_earlier_if_same)."
    archived(2)
    RecallReason.objects.update_or_create(code="other", defaults={"label_en": "Other reason"})
    Application.objects.create(slug="other", name="Other", rest_host_saved=application.rest_host_saved)
    data = form()
    confirm(signed_in, NEW, data)
    conversation = {name: MARKED[name] for name in ("kind", "user_a", "user_b", "group_id")}
    change = {
        **dict.fromkeys(("kind", "group_id"), conversation),
        "app": {"app": "other"},
        "user_a": {"user_a": "another-user"},
        "user_b": {"user_b": "another-user"},
    }.get(field, {field: MARKED[field]})
    answer = confirm(signed_in, NEW, {**data, **change})
    assert "This form was used for another recall already." in answer.content.decode(), (
        f"recall/services.py (_earlier_if_same) does not compare {field}."
    )
    assert Recall.objects.count() == 1


def test_the_command_fills_every_field_of_a_recall(lead: Any) -> None:
    command = Command()
    options = vars(command.create_parser("manage.py", "recall").parse_args(["--actor", "lea", "--reason", "spam"]))
    options |= {"recaller_id": "", "recaller_data": ""}
    lost = set(RecallForm(actor=lead).fields) - set(command.form_data(lead, options)) - {"typed_count", "shown"}
    assert not lost, f"`manage.py recall` has no option for: {lost}"
