"""Every field of a sweep is offered, shown, posted back, reviewed and compared, as those of a recall are."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from moderation.applications.models import Application
from moderation.archive.models import Conversation
from recall.forms import SweepForm
from recall.models import RecallReason, Sweep
from tests.markup import markup

from .reviewing import confirm, review

FIRST = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
ADDRESS = "/sweeps/new/"
# Whose messages: what is planned has tests of its own.
WHOSE = {"app": "default", "sender": "user-a"}
# What is posted of the other fields, then what another posts instead, then what both pages show of it.
FIELDS: dict[str, tuple[str, str, str]] = {
    "since": ("2023-11-13T01:00:00", "2023-11-12T01:00:00", "2023-11-13"),
    "until": ("2023-11-16T01:00:00", "2023-11-17T01:00:00", "2023-11-16"),
    "reason": ("other", "spam", "Other reason"),
    "note": ("marked note", "another", "marked note"),
    "recaller_id": ("marked-recaller", "another", "marked-recaller"),
    "recaller_data": ('{"name": "marked name"}', '{"name": "another"}', "marked name"),
}
# These belong to the form and its confirmation.
OF_THE_FORM = {"submission", "typed_count", "shown"}


@pytest.fixture
def signed_in(
    client: Client, lead: Any, private: Conversation, reason: Any, make_message: Callable[..., Any]
) -> Client:
    """A lead, who may choose what app users see as the recaller; with one message to sweep."""
    make_message(private, FIRST)
    RecallReason.objects.update_or_create(code="other", defaults={"label_en": "Other reason"})
    Application.objects.update(name="Shop")
    client.force_login(lead)
    return client


@pytest.fixture
def fields(lead: Any) -> set[str]:
    return set(SweepForm(actor=lead).fields)


def form() -> dict[str, str]:
    return {**WHOSE, **{name: posted for name, (posted, *_) in FIELDS.items()}, "submission": str(uuid.uuid4())}


def test_every_field_of_a_sweep_is_tried_below(fields: set[str]) -> None:
    untried = fields - set(WHOSE) - set(FIELDS) - OF_THE_FORM
    assert not untried, f"Add {sorted(untried)} to FIELDS: the tests below then name what is forgotten of it."


def test_the_form_of_a_sweep_offers_every_field(signed_in: Client, fields: set[str]) -> None:
    offered = set(re.findall(r'\sname="(\w+)"', signed_in.get(ADDRESS).content.decode()))
    lost = fields - offered - {"typed_count", "shown"}
    assert not lost, f"{ADDRESS} does not offer: {lost}"


def test_the_review_of_a_sweep_posts_every_field_back(signed_in: Client, fields: set[str]) -> None:
    lost = fields - set(review(signed_in, ADDRESS, form())) - {"typed_count"}
    assert not lost, f"The review does not post back: {lost} (templates/recall/pages/sweep_review.html)"


def test_the_review_and_the_page_of_a_sweep_show_every_field(signed_in: Client) -> None:
    data = form()
    reviewed = re.sub(r'<input\s+type="hidden"[^>]*>', "", markup(signed_in.post(ADDRESS, data)))
    answer = confirm(signed_in, ADDRESS, data, typed_count="1")
    assert answer.status_code == 303, "Confirmed as it was shown, the sweep is refused: its review is compared wrongly."
    made = markup(signed_in.get(Sweep.objects.get().get_absolute_url()))
    for page, name in ((reviewed, "review"), (made, "page of the sweep")):
        lost = [field for field, (*_, shown) in FIELDS.items() if shown not in page]
        assert not lost, f"The {name} does not show: {lost}"


@pytest.mark.parametrize("field", FIELDS)
def test_a_sweep_that_is_changed_after_its_review_is_reviewed_first(signed_in: Client, field: str) -> None:
    answer = signed_in.post(
        ADDRESS, {**review(signed_in, ADDRESS, form()), field: FIELDS[field][1], "typed_count": "1"}
    )
    changed = f"The digest of a sweep’s review lacks {field}: recall/reviews.py (of_sweep), and who calls it."
    assert answer.status_code == 200, changed
    assert not Sweep.objects.exists(), changed


@pytest.mark.parametrize("field", FIELDS)
def test_a_sweep_that_was_changed_and_sent_again_makes_nothing_and_says_so(signed_in: Client, field: str) -> None:
    data = form()
    sent = {**review(signed_in, ADDRESS, data), "typed_count": "1"}
    signed_in.post(ADDRESS, sent)
    answer = signed_in.post(ADDRESS, {**sent, field: FIELDS[field][1]})
    assert answer.status_code == 200, f"recall/sweeps.py (_earlier_if_same) does not compare {field}."
    assert Sweep.objects.count() == 1
