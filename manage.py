#!/usr/bin/env python
"""Runs the console's commands in a clone: `python manage.py help` lists them."""

from moderation.__main__ import main

if __name__ == "__main__":
    main()
