"""The sweep's pages: the form, the review, and the sweep's own page."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from moderation.archive.models import Conversation, Sender
from moderation.goeasy.client import Group
from recall.models import Recall, RecallBatch, Sweep
from recall.views import sweeps

from .reviewing import confirm, press

FIRST = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
ADDRESS = "/sweeps/new/"


@pytest.fixture
def signed_in(client: Client, moderator: Any, application: Any) -> Client:
    moderator.timezone = "Asia/Shanghai"
    moderator.save()
    client.force_login(moderator)
    return client


@pytest.fixture
def talks(application: Any, make_message: Callable[..., Any]) -> list[Conversation]:
    """Two groups in which a spammer wrote, and a neighbour at the same millisecond in one of them."""
    made = [Conversation.objects.open(application, Group(name)) for name in ("one", "two")]
    for n in range(3):
        make_message(made[0], FIRST + n, senderId="spammer", payload={"text": f"buy {n}"})
    make_message(made[1], FIRST + 9, senderId="spammer", payload={"text": "<b>buy</b>"})
    make_message(made[0], FIRST + 2, senderId="neighbour", payload={"text": "good morning"})
    return made


def filled(why: Any, **fields: Any) -> dict[str, str]:
    return {
        "app": "default",
        "sender": "spammer",
        # In Shanghai: eight hours later than UTC.
        "since": "2023-11-15T06:13:20",
        "until": "2023-11-15T06:13:20",
        "reason": why.code,
        "note": "",
        "submission": str(uuid.uuid4()),
        **fields,
    }


def posted(client: Client, data: dict[str, str]) -> tuple[int, str]:
    answer = client.post(ADDRESS, data)
    return answer.status_code, " ".join(answer.content.decode().split())


def confirmed(client: Client, data: dict[str, str], count: str = "4") -> Any:
    """Confirm the review of `data` and return the response."""
    return confirm(client, ADDRESS, data, typed_count=count)


@pytest.mark.parametrize(("name", "hours"), [("hour", 1), ("day", 24), ("week", 168)])
def test_a_span_up_to_now_is_one_click_and_keeps_what_was_typed(signed_in: Client, name: str, hours: int) -> None:
    answer = signed_in.post("/sweeps/new/", {"app": "default", "sender": "user-typed", "edit": name})
    initial = answer.context["form"].initial
    assert initial["sender"] == "user-typed"
    assert int(initial["until"]) - int(initial["since"]) == hours * 3_600_000
    assert abs(int(initial["until"]) - time.time() * 1000) < 60_000
    page = answer.content.decode()
    assert 'value="user-typed"' in page
    assert not Sweep.objects.exists()


def test_a_span_of_another_name_changes_nothing(signed_in: Client) -> None:
    initial = signed_in.post("/sweeps/new/", {"app": "default", "edit": "year"}).context["form"].initial
    assert "since" not in initial


def test_the_address_fills_the_form(signed_in: Client, reason: Any) -> None:
    page = signed_in.get(
        ADDRESS, {"app": "default", "sender": "u<1>", "since": str(FIRST), "until": str(FIRST + 5)}
    ).content.decode()
    assert 'value="u&lt;1&gt;"' in page
    assert page.count('value="2023-11-15T06:13:20"') == 2
    assert "Asia/Shanghai" in page


def test_the_form_begins_a_day_back(signed_in: Client, time_machine: Any) -> None:
    time_machine.move_to("2026-01-02 03:04:05+00:00", tick=False)
    page = signed_in.get(ADDRESS).content.decode()
    assert 'value="2026-01-01T11:04:05"' in page
    assert 'value="2026-01-02T11:04:05"' in page


def test_the_review_shows_by_conversation_what_goes_and_who_else_is_hit(
    signed_in: Client, talks: list[Conversation], reason: Any, application: Any
) -> None:
    Sender.objects.update_or_create(application=application, user_id="neighbour", defaults={"name": "Mrs Wang"})
    status, page = posted(signed_in, filled(reason))
    assert status == 200
    assert "<strong>4</strong> messages in <strong>2</strong> conversations" in page
    assert "<strong>2</strong> requests" in page
    assert "1 message of somebody else is recalled too." in page
    assert "Mrs Wang" in page
    assert "good morning" in page
    assert "&lt;b&gt;buy&lt;/b&gt;" in page
    assert "Type 4, the number of messages, to confirm" in page
    assert not Sweep.objects.exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sender": ""}, "This field is required."),
        ({"sender": "nobody"}, "The archive has no message of this sender"),
        ({"since": "2023-11-15T06:13:21"}, "This is before “From”."),
        ({"since": ""}, "This field is required."),
        ({"since": "yesterday"}, "Enter a valid date/time."),
        ({"until": "99999-01-01T00:00"}, "Enter a valid date/time."),
        ({"app": "nope"}, "Select a valid choice."),
        ({"reason": "nope"}, "There is no such reason, or it is no longer available."),
        ({"note": "x" * 2001}, "at most 2000 characters"),
        ({"recaller_data": "[1]"}, "Only a lead may change what app users see of you."),
        ({"submission": "x"}, "Nothing was sent."),
        ({"sender": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_bad_input_is_named_and_makes_nothing(
    signed_in: Client, talks: list[Conversation], reason: Any, fields: dict[str, str], said: str
) -> None:
    status, page = posted(signed_in, filled(reason, confirm="1", typed_count="4", **fields))
    assert status == 200
    assert said in page
    assert not Sweep.objects.exists()


@pytest.mark.parametrize("extreme", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_a_time_at_the_calendars_end_is_no_error_of_ours(
    signed_in: Client, talks: list[Conversation], reason: Any, extreme: str
) -> None:
    for name in ("since", "until"):
        assert posted(signed_in, filled(reason, **{name: extreme}))[0] == 200


def test_more_than_the_maximum_says_how_many_that_is(
    signed_in: Client, talks: list[Conversation], reason: Any, settings: Any
) -> None:
    settings.SWEEP_MAX_MESSAGES = 3
    assert "These are more than 3 messages. Choose a shorter time." in posted(signed_in, filled(reason))[1]


def test_the_count_has_to_be_typed(signed_in: Client, talks: list[Conversation], reason: Any) -> None:
    for typed in ("", "3", "five"):
        page = confirmed(signed_in, filled(reason), typed).content.decode()
        assert "Type 4 to confirm the number of messages." in page
    assert not Sweep.objects.exists()
    answer = confirmed(signed_in, filled(reason), "４")
    sweep = Sweep.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, sweep.get_absolute_url())
    assert (sweep.since, sweep.until) == (FIRST, FIRST + 999)


def test_the_button_pressed_twice_is_one_sweep(signed_in: Client, talks: list[Conversation], reason: Any) -> None:
    data = filled(reason)
    _status, page = posted(signed_in, data)
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    pressed = {**hidden, "typed_count": "4", "confirm": "1"}
    first, second = (signed_in.post(ADDRESS, pressed) for _ in range(2))
    assert first["Location"] == second["Location"]
    assert Recall.objects.count() == 2
    changed = signed_in.post(ADDRESS, {**pressed, "note": "another"}).content.decode()
    assert "This form was used for another sweep already." in changed or "part of other recalls already" in changed
    assert Sweep.objects.count() == 1


def test_a_changed_sweep_is_reviewed_again_and_can_then_be_confirmed(
    signed_in: Client, talks: list[Conversation], reason: Any, make_message: Callable[..., Any]
) -> None:
    _status, page = posted(signed_in, filled(reason))
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    make_message(talks[1], FIRST + 50, senderId="spammer")
    answer = signed_in.post(ADDRESS, {**hidden, "typed_count": "5", "confirm": "1"})
    page = " ".join(answer.content.decode().split())
    assert "1 more message would be recalled." in page
    assert "<strong>5</strong> messages" in page
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert signed_in.post(ADDRESS, {**hidden, "typed_count": "5", "confirm": "1"}).status_code == 303


def test_change_goes_back_to_the_form_with_what_was_typed(
    signed_in: Client, talks: list[Conversation], reason: Any
) -> None:
    page = posted(signed_in, filled(reason, edit="1", note="spam wave"))[1]
    for typed in ("spammer", "2023-11-15T06:13:20", "spam wave"):
        assert typed in page


# Its own page


@pytest.fixture
def sweep(signed_in: Client, talks: list[Conversation], reason: Any) -> Sweep:
    confirmed(signed_in, filled(reason, note="spam wave"))
    return Sweep.objects.get()


def shown(client: Client, sweep: Sweep, **query: str) -> str:
    return " ".join(client.get(sweep.get_absolute_url(), query).content.decode().split())


def test_its_page_shows_every_conversation_and_cancels_it(signed_in: Client, sweep: Sweep) -> None:
    page = shown(signed_in, sweep)
    assert "Not sent yet." in page
    assert "4 messages · 2 requests" in page
    assert "spam wave" in page
    for recall in sweep.recalls.all():
        assert recall.get_absolute_url() in page
    answer = press(signed_in, sweep.get_absolute_url(), reverse("sweep-cancel", args=[sweep.pk]))
    assert "The recall of 4 messages was cancelled." in answer.content.decode()
    page = shown(signed_in, sweep)
    assert "Sending has ended in 2 of 2 conversations." in page
    assert "hx-get" not in page
    again = signed_in.post(reverse("sweep-cancel", args=[sweep.pk]), follow=True).content.decode()
    assert "nothing is left to cancel" in again


def test_it_is_polled_until_nothing_changes_any_more(signed_in: Client, sweep: Sweep) -> None:
    address, htmx = sweep.get_absolute_url(), {"HX-Request": "true"}
    seen = signed_in.get(address, headers=htmx).context["seen"]
    assert signed_in.get(address, {"seen": seen}, headers=htmx).status_code == 204
    sweep.recalls.update(state="sending")
    changed = signed_in.get(address, {"seen": seen}, headers=htmx)
    assert changed.status_code == 200
    assert "<html" not in changed.content.decode()


def test_a_sweep_that_ends_while_its_page_is_read_is_polled_again(
    signed_in: Client, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress_of_sweeps = sweeps.progress_of_sweeps

    def finish_after_reading(some: Sequence[Sweep]) -> Any:
        progress = progress_of_sweeps(some)
        RecallBatch.objects.update(state="accepted")
        sweep.recalls.update(state="finished")
        return progress

    monkeypatch.setattr(sweeps, "progress_of_sweeps", finish_after_reading)
    page = signed_in.get(sweep.get_absolute_url())
    assert page.context["progress"].batches == {"pending": 2}
    assert "hx-trigger" in page.content.decode()
    seen = page.context["seen"]
    assert signed_in.get(sweep.get_absolute_url(), {"seen": seen}, headers={"HX-Request": "true"}).status_code == 200


def test_recalls_that_need_a_person_can_be_filtered_and_sent_again(signed_in: Client, sweep: Sweep) -> None:
    one, two = sweep.recalls.order_by("created_at")
    one.batches.update(state="refused")
    two.batches.update(state="accepted")
    Recall.objects.filter(pk=one.pk).update(state="stopped", stop_reason="key_refused")
    Recall.objects.filter(pk=two.pk).update(state="finished")
    assert "1 recall needs action." in shown(signed_in, sweep)
    alone = shown(signed_in, sweep, needs="1")
    assert one.get_absolute_url() in alone
    assert two.get_absolute_url() not in alone
    home = signed_in.get("/")
    assert sweep in home.context["sweeps_in_need"]
    assert not home.context["needs"]
    answer = press(signed_in, sweep.get_absolute_url(), reverse("sweep-retry", args=[sweep.pk]))
    assert "1 request is being sent again." in answer.content.decode()
    assert sweep in signed_in.get("/").context["sweeps_under_way"]
    again = signed_in.post(reverse("sweep-retry", args=[sweep.pk]), follow=True).content.decode()
    assert "Nothing of this sweep was refused" in again


def test_an_auditor_reads_it_and_is_offered_nothing_to_do(client: Client, auditor: Any, sweep: Sweep) -> None:
    client.force_login(auditor)
    page = shown(client, sweep)
    assert "4 messages · 2 requests" in page
    assert "Cancel recall" not in page
    assert ADDRESS not in client.get("/recalls/").content.decode()


def test_its_recalls_lead_to_it(signed_in: Client, sweep: Sweep) -> None:
    recall = sweep.recalls.all()[0]
    for address in (recall.get_absolute_url(), "/recalls/"):
        assert sweep.get_absolute_url() in signed_in.get(address).content.decode()


def test_a_page_of_its_recalls_leads_to_the_next(
    signed_in: Client, application: Any, reason: Any, make_message: Callable[..., Any]
) -> None:
    for number in range(60):
        make_message(Conversation.objects.open(application, Group(f"g-{number}")), FIRST + number, senderId="spammer")
    confirmed(signed_in, filled(reason), "60")
    sweep = Sweep.objects.get()
    first = signed_in.get(sweep.get_absolute_url())
    second = signed_in.get(sweep.get_absolute_url(), {"after": first.context["next"]})
    pages = [[recall.pk for recall in answer.context["page"]] for answer in (first, second)]
    assert [len(page) for page in pages] == [50, 10]
    assert len({pk for page in pages for pk in page}) == 60
    assert signed_in.get(sweep.get_absolute_url(), {"after": "nonsense"}).context["page"][0].pk == pages[0][0]


def test_its_page_costs_the_same_queries_however_many_conversations_it_has(
    signed_in: Client,
    sweep: Sweep,
    application: Any,
    reason: Any,
    make_message: Callable[..., Any],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(30):
        make_message(Conversation.objects.open(application, Group(f"g-{number}")), FIRST + number, senderId="spammer")
    confirmed(signed_in, filled(reason), "30")
    large = Sweep.objects.order_by("-created_at")[0]
    with django_assert_max_num_queries(22):
        signed_in.get(large.get_absolute_url())


def test_an_id_that_is_a_senders_leads_to_the_sweep(signed_in: Client, talks: list[Conversation]) -> None:
    Sender.objects.update_or_create(application=talks[0].application, user_id="spammer", defaults={"name": "S"})
    for number in range(2):
        Conversation.objects.create(
            application=talks[0].application, kind="private", user_a="spammer", user_b=f"u-{number}"
        )
    page = signed_in.get("/open/", {"q": "spammer"}, follow=True).content.decode()
    assert f"{ADDRESS}?app=default&amp;sender=spammer" in page
