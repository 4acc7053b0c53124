"""Template tag for links back to the current page."""

from typing import Any

from django import template

from moderation.accounts.unsent import page_for

register = template.Library()


@register.simple_tag(takes_context=True)
def this_page(context: dict[str, Any]) -> str:
    """Address of the current page, or of the page with its form in the response to a POST."""
    request = context.get("request")
    return page_for(request.get_full_path()) if request else "/"
