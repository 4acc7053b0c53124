"""Translations of the verifier's messages, which are English because the verifier does not use Django."""

import re

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

# The messages of `audit.verifier`, `audit.verification` and `audit.checkpoints`, with placeholders for numbers.
MESSAGES = [
    _("seq %(a)s: it comes after seq %(b)s: repeated, swapped or inserted"),
    _("seq %(a)s: missing; seq %(b)s comes in its place"),
    _("seq %(a)s: its content is not what its hash was made of"),
    _("seq %(a)s: its prev_hash is not the hash of the entry before"),
    _("seq %(a)s: the checkpoint is of a log that begins with another entry, or of another log"),
    _("seq %(a)s to %(b)s: not the entries that the checkpoint of %(c)s covers"),
    _("seq %(a)s: missing; a checkpoint covers %(b)s entries"),
    _("the checkpoint is not signed with this public key"),
    _("the checkpoint of %(a)s was changed: its signature is not right"),
    _("seq %(a)s: its private part is not what detail.private was made of"),
    _("seq %(a)s: its private part is gone, and no entry says that it was erased"),
    _("seq %(a)s: its seal is missing"),
    _("seq %(a)s: what is stored cannot be read"),
    _("an entry that waits for its seal cannot be read"),
    _("a checkpoint in the database was changed: it cannot be read"),
    _("the checkpoint of %(a)s in the database was changed: its subtrees are none"),
    _("the checkpoint of %(a)s is signed with a key that is neither this console's nor in AUDIT_FORMER_PUBLIC_KEYS"),
]


def translated(problem: str) -> str:
    """Translate a message; one that is not in MESSAGES stays as it is."""
    for message in MESSAGES:
        pattern = re.sub(r"%\\\((\w)\\\)s|%\((\w)\)s", r"(?P<\1\2>\\d+)", re.escape(message))
        if match := re.fullmatch(pattern, problem):
            return gettext(message) % match.groupdict()
    return problem
