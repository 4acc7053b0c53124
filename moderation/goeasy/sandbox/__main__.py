"""`python -m moderation.goeasy.sandbox`: the sandbox without Django's settings; `--help` lists its options."""

import sys

from moderation.goeasy.management.commands.goeasy_sandbox import Command

Command().run_from_argv(["", "goeasy_sandbox", *sys.argv[1:]])
