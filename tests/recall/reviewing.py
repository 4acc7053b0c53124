"""Confirming as the browser does: what the review's page carries goes back with it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

HIDDEN = re.compile(r'<input\s+type="hidden"\s+name="(\w+)"\s+value="([^"]*)"')


def hidden_fields(page: str, form: str) -> dict[str, str]:
    """The hidden fields of the form on `page` whose tag holds `form`, but for the CSRF token."""
    start = page.index(form)
    fields = HIDDEN.findall(page[start : page.index("</form>", start)])
    return {name: unescape(value) for name, value in fields if name != "csrfmiddlewaretoken"}


def review(client: Client, address: str, data: dict[str, Any]) -> dict[str, str]:
    """What the review that `data` leads to would send on confirmation."""
    page = client.post(address, data).content.decode()
    return {**hidden_fields(page, 'class="stack confirm"'), "confirm": "1"}


def confirm(client: Client, address: str, data: dict[str, Any], **more: str) -> Any:
    """The answer to the review's button; `more`: what is typed there."""
    return client.post(address, {**review(client, address, data), **more})


def press(client: Client, page: str, address: str, **more: Any) -> Any:
    """The answer to the button of the form on `page` that posts to `address`; not offered, it is sent all the same."""
    shown = client.get(page).content.decode()
    fields = hidden_fields(shown, f'action="{address}') if f'action="{address}' in shown else {}
    return client.post(address, {**fields, **more}, follow=True)
