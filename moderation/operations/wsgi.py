"""Loading the WSGI application for gunicorn, or ending with a sentence that says what to do."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

WSGIApplication = Callable[..., Iterable[bytes]]

# gunicorn's exit status for an application that cannot be loaded: it ends and starts no further process.
CANNOT_BE_LOADED = 4


def load(*, serves_pages: bool) -> WSGIApplication:
    """The application, once configuration, database and (of a process that serves pages) static files are usable.

    Otherwise prints what is wrong and ends the process with CANNOT_BE_LOADED: a sentence helps, a traceback does not.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    try:
        application: WSGIApplication = get_wsgi_application()
        from django.conf import settings

        from moderation.operations.readiness import static_files_problem
        from moderation.operations.startup import refuse_unusable_database

        refuse_unusable_database()
        # Deliveries are taken even where nobody has collected the style sheets.
        if serves_pages and (problem := static_files_problem()):
            raise ImproperlyConfigured(problem)
    except ImproperlyConfigured as refusal:
        print(refusal, file=sys.stderr, flush=True)
        sys.exit(CANNOT_BE_LOADED)
    if not settings.SCRIPT_NAME:
        return application
    # gunicorn would refuse what does not begin with it, such as a probe of this process's own address.
    os.environ.pop("SCRIPT_NAME", None)
    return without_prefix(settings.SCRIPT_NAME, application)


def without_prefix(prefix: str, application: WSGIApplication) -> WSGIApplication:
    """`application` without `prefix` before its paths, whether a proxy has taken it away already or not."""

    def stripped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :]
        return application(environ, start_response)

    return stripped
