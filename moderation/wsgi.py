"""The WSGI application that gunicorn serves: `gunicorn moderation.wsgi`."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")

# gunicorn's exit status for an application that cannot be loaded: it ends and starts no further process.
CANNOT_BE_LOADED = 4


def below(prefix: str, answer: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """`answer` without `prefix` before its paths, whether a proxy has taken it away already or not."""

    def stripped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["PATH_INFO"] = path[len(prefix) :]
        return answer(environ, start_response)

    return stripped


try:
    application: Callable[..., Iterable[bytes]] = get_wsgi_application()
    from django.conf import settings

    from moderation.operations.readiness import static_files_problem
    from moderation.operations.startup import refuse_unusable_database

    refuse_unusable_database()
    problem = static_files_problem()
    if settings.SCRIPT_NAME:
        application = below(settings.SCRIPT_NAME, application)
        # gunicorn would refuse what does not begin with it, such as a probe of this process's own address.
        os.environ.pop("SCRIPT_NAME", None)
except ImproperlyConfigured as refusal:
    problem = str(refusal)
if problem:
    # Its sentence helps, a traceback does not.
    print(problem, file=sys.stderr, flush=True)
    sys.exit(CANNOT_BE_LOADED)
