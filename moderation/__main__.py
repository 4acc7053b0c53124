"""The console's commands: `moderation-console`, `python -m moderation`, and `python manage.py` in a clone."""

import os
import sys

from moderation import __version__


def main() -> None:
    """Hand the command line to Django, or print the version."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    if sys.argv[1:2] in (["--version"], ["version"]):
        # Django's own answer would be the version of Django.
        print(f"moderation-console {__version__}")
        return
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        # A setting that cannot be used: its sentence helps, where in settings.py it was read does not.
        sys.exit(str(problem))
    except DatabaseError:
        from moderation.operations.readiness import migrations_problem

        try:
            message = migrations_problem()
        except DatabaseError:
            message = ""
        if not message:
            raise
        sys.exit(message)


if __name__ == "__main__":
    main()
