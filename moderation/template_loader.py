"""Templates without the white space that only their readers need, which would be a third of a conversation's page."""

from __future__ import annotations

import re

from django.template import Origin
from django.template.loaders import filesystem

INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
# The line break before a line that is one of these tags alone: the one after it stays, so no two words are joined.
CONTROL = "if|elif|else|endif|for|empty|endfor|with|endwith|ifchanged|endifchanged|load"
BREAK_BEFORE_CONTROL = re.compile(rf"\n(?={{%\ (?:{CONTROL})\b[^%\n]*%}}\n)")


class Loader(filesystem.Loader):
    """Load a template of `templates/`. A `<pre>` begins and ends on one line there."""

    def get_contents(self, origin: Origin) -> str:
        return BREAK_BEFORE_CONTROL.sub("", INDENT.sub("", super().get_contents(origin)))
