"""Where a page leads back to."""

from typing import Any

from django import template

from moderation.accounts.unsent import page_at

register = template.Library()


@register.simple_tag(takes_context=True)
def this_page(context: dict[str, Any]) -> str:
    """The address at which GET shows this page, or the one that has its form when it answers a POST."""
    request = context.get("request")
    return page_at(request.get_full_path()) if request else "/"
