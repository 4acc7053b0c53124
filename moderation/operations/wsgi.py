"""Load the WSGI application for gunicorn, or exit with a message that says what to do."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

WSGIApplication = Callable[..., Iterable[bytes]]

# gunicorn's exit status for an application that cannot be loaded: it stops and starts no other process.
CANNOT_BE_LOADED = 4


def load(*, serves_pages: bool) -> WSGIApplication:
    """Load the application after checks of configuration, database and, if it `serves_pages`, static files.

    Otherwise print the problem instead of a traceback, and exit with CANNOT_BE_LOADED.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    try:
        application: WSGIApplication = get_wsgi_application()
        from django.conf import settings

        from moderation.operations.readiness import static_files_problem
        from moderation.operations.startup import refuse_unusable_database

        refuse_unusable_database()
        # The webhook process needs no static files.
        if serves_pages and (problem := static_files_problem()):
            raise ImproperlyConfigured(problem)
    except ImproperlyConfigured as refusal:
        print(refusal, file=sys.stderr, flush=True)
        sys.exit(CANNOT_BE_LOADED)
    if not settings.SCRIPT_NAME:
        return application
    # gunicorn would refuse paths without this prefix, such as a health probe on the process's own address.
    os.environ.pop("SCRIPT_NAME", None)
    return without_prefix(settings.SCRIPT_NAME, application)


def without_prefix(prefix: str, application: WSGIApplication) -> WSGIApplication:
    """Wrap `application` to remove `prefix` from paths, whether or not a proxy already does."""

    def stripped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :]
        return application(environ, start_response)

    return stripped
