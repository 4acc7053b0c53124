"""Message types: every type has a template and is shown everywhere."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from moderation.archive import messages
from moderation.archive.messages import TYPES, read, text
from moderation.archive.messages.shown import MessageType, Words
from moderation.archive.models import Conversation, Message
from moderation.search import query
from recall.models import Evidence, Recall
from tests.markup import markup
from tests.recall.conftest import make_recall  # noqa: F401 - a fixture

Make = Callable[..., Message]

AT = 1_700_000_000_000
OF_THE_APP = MessageType("order", text.read, sample={"title": "Summer shirt", "id": 7})


def problems_of(types: dict[str, MessageType]) -> list[str]:
    """Messages about types that cannot be shown."""
    problems = []
    for name, each in types.items():
        shown = each.read(each.sample, ())
        if shown is None:
            problems.append(f"The message type {name!r} cannot read its own sample.")
            continue
        try:
            get_template(shown.template)
        except TemplateDoesNotExist:
            problems.append(f"The message type {name!r} has no template: templates/{shown.template} is missing.")
    return problems


def test_every_type_has_a_template() -> None:
    assert problems_of(TYPES) == []


def test_a_type_without_a_template_is_named() -> None:
    place = MessageType("place", lambda payload, origins: Words("place", "here"), sample={"name": "here"})
    assert problems_of({**TYPES, "place": place}) == [
        "The message type 'place' has no template: templates/archive/messages/_place.html is missing."
    ]


def test_every_type_of_the_folder_is_registered() -> None:
    for module in pkgutil.iter_modules(messages.__path__):
        for value in vars(import_module(f"{messages.__name__}.{module.name}")).values():
            if isinstance(value, MessageType):
                assert value in TYPES.values(), (
                    f"messages/{module.name}.py declares the message type {value.name!r}, and TYPES lacks it."
                )


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [*TYPES.values(), OF_THE_APP], ids=lambda kind: kind.name)
def test_a_message_of_each_type_is_shown_searchable_and_kept_as_evidence(
    client: Client,
    moderator: Any,
    private: Conversation,
    make_message: Make,
    make_recall: Callable[..., Recall],  # noqa: F811
    kind: MessageType,
) -> None:
    message = make_message(private, AT, type=kind.name, payload=kind.sample)
    shown = read(message.raw)
    assert shown.headline
    client.force_login(moderator)

    page = client.get(private.get_absolute_url(), {"at": AT})
    assert shown.template in {template.name for template in page.templates}
    assert escape(shown.headline.split("\n")[0]) in markup(page)

    assert query.search(query.Wanted(text=shown.searchable.split("\n")[0])).keys == [(AT, message.pk)]
    listed = markup(client.get(reverse("conversations"), {"type": kind.name}))
    assert f'value="{kind.name}"' in listed
    assert f"at={AT}" in listed

    selected = client.get(reverse("conversation-select", args=[private.pk]), {"sender": message.sender_id}).json()
    assert [row["text"] for row in selected["messages"]] == [shown.line()]

    recall = make_recall([AT])
    assert Evidence.objects.get().raw == message.raw
    assert escape(shown.line(160)) in markup(client.get(recall.get_absolute_url()))


def test_every_type_is_among_the_payloads_of_the_document() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "goeasy-api.md").read_text(encoding="utf-8")
    missing = [name for name in TYPES if f"| `{name}` |" not in document]
    assert not missing, f"docs/goeasy-api.md has no row for the payload of {missing}"


def with_a_mark(value: Any) -> Any:
    """The payload with a mark that turns the text at the end of each of its strings."""
    if isinstance(value, dict):
        return {name: with_a_mark(part) for name, part in value.items()}
    return f"{value}\u202e" if isinstance(value, str) else value


@pytest.mark.django_db
@pytest.mark.parametrize("kind", TYPES.values(), ids=lambda kind: kind.name)
def test_marks_that_turn_the_text_of_each_type_are_written_out(
    client: Client, moderator: Any, private: Conversation, make_message: Make, kind: MessageType
) -> None:
    message = make_message(private, AT, type=kind.name, payload=with_a_mark(kind.sample))
    client.force_login(moderator)
    page = client.get(private.get_absolute_url(), {"at": AT})
    template = read(message.raw).template
    assert template in {each.name for each in page.templates}
    assert "\u202e" not in page.content.decode(), f"templates/{template} shows a text without the filter `visible`."
