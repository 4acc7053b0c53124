"""Names, ids and evidence on pages: no invisible links, and no exact text that browsers translate."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from moderation.applications.models import Application
from moderation.archive.models import Conversation, Message
from moderation.archive.templatetags.payloads import person, visible
from moderation.characters import is_blank
from recall import services

FIRST = 1_700_000_000_000
BLANK = ["\u2800", "\U0001d159", "\u200d\u200c", "\ufe0f", "\U000e0100", "\u3164", "\u115f\u1160", "\uffa0"]
BLANK += [" \u3000\u00a0", "\u0301", "\u200b"]
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# Elements that browsers translate in another way or not at all.
ASIDE = {"script", "style", "title", "option", "textarea"}


class Page(HTMLParser):
    """Parser of a page's texts, each with its enclosing elements (tag, attributes), the outermost first."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.path: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, list[tuple[str, dict[str, str | None]]]]] = []
        self.links: list[str] = []
        self.addresses: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.path.append((tag, dict(attrs)))
        # Nobody sees what is in a template.
        if tag == "a" and "hidden" not in dict(attrs) and not self.is_in_template:
            self.links.append("")
            self.addresses.append(dict(attrs).get("href"))

    @property
    def is_in_template(self) -> bool:
        return any(tag == "template" for tag, _attrs in self.path)

    def handle_endtag(self, tag: str) -> None:
        while self.path and self.path.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.append((data, list(self.path)))
        if not self.is_in_template and any(tag == "a" and "hidden" not in attrs for tag, attrs in self.path):
            self.links[-1] += data


@pytest.mark.parametrize("name", BLANK)
def test_a_name_without_visible_characters_is_blank(name: str) -> None:
    assert is_blank(name)
    assert is_blank("")
    assert not is_blank(f"{name}a")
    assert person({"id": "support", "data": {"name": name}}) == "support"


def test_an_id_without_visible_characters_is_escaped() -> None:
    assert visible("\u2800\ufe0f") == (
        '<span class="mark" title="braille pattern blank">U+2800</span> '
        '<span class="mark" title="variation selector-16">U+FE0F</span>'
    )


@pytest.fixture
def pages(
    client: Client,
    administrator: Any,
    private: Conversation,
    group: Conversation,
    make_message: Callable[..., Any],
    reason: Any,
) -> Callable[[str], Iterator[tuple[str, Page]]]:
    """Every page that shows people, with people who have this name."""

    def walk(name: str) -> Iterator[tuple[str, Page]]:
        about = {"name": name}
        make_message(private, FIRST, senderData=about, receiverData=about, payload={"text": "hello"})
        make_message(group, FIRST + 1, senderData=about, groupData=about, payload={"text": "bye"})
        odd = {"type": "order", "payload": {"price": "exact-9"}}
        make_message(group, FIRST + 2, senderData=about, groupData=about, **odd)
        make_message(group, FIRST + 3, type="file", payload={"url": "https://x.example/exact-9", "name": name})
        Application.objects.update(name=name or "Shop")
        recall = services.request_recall(
            conversation=private,
            actor=administrator,
            reason=reason,
            note="",
            timestamps=[FIRST],
            recaller=None,
            submission=uuid.uuid4(),
            grace_seconds=0,
        )
        client.force_login(administrator)
        span = f"app=default&sender=user-a&since={FIRST}&until={FIRST + 9}"
        for address in (
            "/", "/conversations/", "/conversations/?q=user-a", "/conversations/?sender=user-a", "/open/?q=user",
            f"/conversations/{private.pk}/", f"/conversations/{group.pk}/", "/senders/default/?id=user-a",
            "/senders/default/erase/?id=user-a", "/recalls/", f"/recalls/{recall.pk}/", f"/sweeps/new/?{span}",
            f"/admin/archive/message/{Message.objects.latest('pk').pk}/change/", "/admin/archive/conversation/",
        ):  # fmt: skip
            answer = client.get(address)
            assert answer.status_code == 200, address
            yield address, Page(answer.content.decode())

    return walk


@pytest.mark.parametrize("name", BLANK)
def test_no_page_has_a_link_that_cannot_be_seen(pages: Callable[[str], Iterator[tuple[str, Page]]], name: str) -> None:
    blank = [
        (address, to)
        for address, page in pages(name)
        for link, to in zip(page.links, page.addresses, strict=True)
        if is_blank(link.strip())
    ]
    assert blank == []


def test_no_browser_translates_ids_and_evidence(pages: Callable[[str], Iterator[tuple[str, Page]]]) -> None:
    exact = ("user-a", "user-b", "group-1", "exact-9", "m-17", str(FIRST), '"payload"', '"price"')
    loose = [
        (address, text.strip(), [tag for tag, _attrs in path])
        for address, page in pages("")
        for text, path in page.texts
        if any(each in text for each in exact)
        and not any(tag in ASIDE or attrs.get("translate") == "no" for tag, attrs in path)
    ]
    assert loose == []
