"""The console's commands: `moderation-console`, `python -m moderation`, and `python manage.py` in a clone."""

import os
import sys

from moderation import __version__


def main() -> None:
    """Hand the command line to Django, or print the version."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import Error as DatabaseError

    if sys.argv[1:2] in (["--version"], ["version"]):
        # Django's own answer would be the version of Django.
        print(f"moderation-console {__version__}")
        return
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        # A setting that cannot be used: its sentence helps, where in settings.py it was read does not.
        sys.exit(str(problem))
    except DatabaseError as error:
        from moderation.operations.readiness import database_problem

        if not (message := database_problem(error)):
            raise
        # Status 2, as of every command that could not start: some use 1 for a broken log.
        print(message, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
