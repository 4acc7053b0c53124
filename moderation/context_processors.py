"""Variables of every page."""

from django.http import HttpRequest

from moderation import __version__


def version(request: HttpRequest) -> dict[str, str]:
    """The console's version, which the footer shows."""
    return {"console_version": __version__}
