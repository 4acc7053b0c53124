"""Confirming a review as the browser does: its hidden fields are posted back."""

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
    """Fields that the review of `data` posts on confirmation."""
    page = client.post(address, data).content.decode()
    return {**hidden_fields(page, 'class="stack confirm"'), "confirm": "1"}


def confirm(client: Client, address: str, data: dict[str, Any], **more: str) -> Any:
    """Confirm the review and return the response; `more`: typed fields."""
    return client.post(address, {**review(client, address, data), **more})


def press(client: Client, page: str, address: str, **more: Any) -> Any:
    """Post the form of the page that posts to `address`, even if the page does not offer it; return the response."""
    shown = client.get(page).content.decode()
    fields = hidden_fields(shown, f'action="{address}') if f'action="{address}' in shown else {}
    return client.post(address, {**fields, **more}, follow=True)
