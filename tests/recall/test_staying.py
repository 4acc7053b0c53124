"""Who recalls from a conversation stays there: a notice says how it goes, and cancels it while that is possible."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from moderation.archive.models import Conversation, Message
from recall.models import Recall

from .reviewing import confirm, hidden_fields

FIRST = 1_700_000_000_000
NEW = "/recalls/new/"


@pytest.fixture
def signed_in(client: Client, moderator: Any, private: Conversation, make_message: Callable[..., Message]) -> Client:
    for number in range(70):
        make_message(private, FIRST + number)
    client.force_login(moderator)
    return client


def form(*timestamps: int, **fields: Any) -> dict[str, Any]:
    """A form as the conversation's page posts it."""
    return {
        "app": "default",
        "kind": "private",
        "user_a": "user-a",
        "user_b": "user-b",
        "timestamps": " ".join(map(str, timestamps)),
        "reason": "spam",
        "submission": str(uuid.uuid4()),
        "stay": "1",
        **fields,
    }


@pytest.fixture
def made(signed_in: Client, private: Conversation, reason: Any, settings: Any) -> Recall:
    """A recall from the conversation, which has not been sent yet."""
    settings.RECALL_GRACE_SECONDS = 60
    answer = confirm(signed_in, NEW, form(FIRST + 68, FIRST + 69))
    recall = Recall.objects.get()
    assert answer["Location"] == f"{private.get_absolute_url()}?recall={recall.pk}"
    return recall


def test_the_conversation_says_that_they_are_being_recalled_and_offers_to_cancel(
    signed_in: Client, made: Recall, private: Conversation
) -> None:
    page = signed_in.get(private.get_absolute_url(), {"recall": made.pk}).content.decode()
    toast = page[page.index('id="toast"') :]
    assert "Recalling 2 messages" in toast
    assert "Not sent yet." in toast
    assert f'data-first="{FIRST + 68}"' in page
    fields = hidden_fields(page, f'action="{reverse("recall-cancel", args=[made.pk])}')
    answer = signed_in.post(reverse("recall-cancel", args=[made.pk]), fields)
    # And still in the conversation.
    assert answer["Location"] == f"{private.get_absolute_url()}?recall={made.pk}"
    made.refresh_from_db()
    assert made.state == "cancelled"
    page = signed_in.get(answer["Location"]).content.decode()
    assert "The recall of 2 messages was cancelled." in page
    assert 'id="toast-cancel"' not in page


def test_the_notice_is_renewed_until_it_is_over_and_only_when_something_changed(
    signed_in: Client, made: Recall
) -> None:
    address = reverse("recall-toast", args=[made.pk])
    answer = signed_in.get(address)
    assert "every 1s" in answer.content.decode()
    seen = answer.context["toast_seen"]
    assert signed_in.get(address, {"seen": seen}).status_code == 204
    made.batches.update(state="accepted")
    Recall.objects.filter(pk=made.pk).update(state="finished")
    page = signed_in.get(address, {"seen": seen}).content.decode()
    assert "every 1s" not in page
    assert "toast-cancel" not in page
    assert "Accepted." in page


def test_one_stays_further_up_where_the_messages_were_recalled(
    signed_in: Client, private: Conversation, reason: Any
) -> None:
    answer = confirm(signed_in, NEW, form(FIRST + 2))
    recall = Recall.objects.get()
    answer = signed_in.get(answer["Location"])
    assert answer["Location"] == f"{private.get_absolute_url()}?recall={recall.pk}&at={FIRST + 2}"
    page = signed_in.get(answer["Location"]).content.decode()
    assert f'data-timestamp="{FIRST + 2}"' in page
    assert 'id="toast"' in page


def test_a_form_that_was_not_posted_from_a_conversation_leads_to_the_recall(signed_in: Client, reason: Any) -> None:
    fields = form(FIRST)
    del fields["stay"]
    answer = confirm(signed_in, NEW, fields)
    assert answer["Location"] == Recall.objects.get().get_absolute_url()


@pytest.mark.parametrize("given", ["", "x", str(uuid.UUID(int=5)), "another person's", "another conversation's"])
def test_a_notice_of_nothing_of_ones_own_is_not_shown(
    signed_in: Client, made: Recall, private: Conversation, lead: Any, given: str
) -> None:
    where = private
    if given == "another person's":
        Recall.objects.update(actor=lead)
    elif given == "another conversation's":
        where = Conversation.objects.create(application=private.application, kind="group", group_id="elsewhere")
    query = {"recall": made.pk if given.startswith("another") else given}
    answer = signed_in.get(where.get_absolute_url(), query)
    assert answer.status_code == 200
    assert 'id="toast"' not in answer.content.decode()


def test_an_auditor_sees_the_notice_and_is_offered_nothing(client: Client, made: Recall, auditor: Any) -> None:
    client.force_login(auditor)
    page = client.get(reverse("recall-toast", args=[made.pk])).content.decode()
    assert "Recalling 2 messages" in page
    assert "toast-cancel" not in page
