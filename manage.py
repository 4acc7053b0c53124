#!/usr/bin/env python
"""Runs the console's commands: `python manage.py help` lists them."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import Error as DatabaseProblem

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        # A setting that cannot be used: its sentence helps, where in settings.py it was read does not.
        sys.exit(str(problem))
    except DatabaseProblem as error:
        from moderation.readiness import database_problem

        if not (sentence := database_problem(error)):
            raise
        # As of every command that could not begin: of some, 1 says that the log is broken.
        print(sentence, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
