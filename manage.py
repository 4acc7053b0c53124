#!/usr/bin/env python
"""Runs the console's commands: `python manage.py help` lists them."""

import os
import sys


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moderation.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        # A setting that cannot be used: its sentence helps, where in settings.py it was read does not.
        sys.exit(str(problem))
    except DatabaseError:
        from moderation.operations.readiness import migrations_problem

        try:
            sentence = migrations_problem()
        except DatabaseError:
            sentence = ""
        if not sentence:
            raise
        sys.exit(sentence)


if __name__ == "__main__":
    main()
