"""What a person was shown when they decided, and what of it is different now.

A form that decides something carries a token: what its page showed of the subject, in aspects, each a number and a
digest, signed for this person and this decision. Whoever carries the decision out looks at the aspects again, under
the lock under which it acts, and raises `Changed` when they differ: the person then sees the subject first.

The signature keeps a form from being made without the page; the digests say nothing of what they are of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib.auth.base_user import AbstractBaseUser
from django.core import signing
from django.utils import timezone
from django.utils.translation import gettext as _

# By name of the aspect: how many things it is of, and a digest of them.
Aspects = dict[str, tuple[int, str]]

SALT = "moderation.reviewed"


class Changed(Exception):
    """The subject is not what the person was shown; `sentences` say what is different."""

    def __init__(self, sentences: Collection[str]) -> None:
        super().__init__(" ".join(sentences))
        self.sentences = list(sentences)

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True)
class Seen:
    """What a person was shown, and when."""

    at: datetime
    aspects: Aspects

    def differences(self, now: Aspects) -> dict[str, int]:
        """The aspects that are not as they were, each with how many more things it is of `now`."""
        return {
            name: now[name][0] - self.aspects.get(name, (0, ""))[0]
            for name in now
            if self.aspects.get(name) != now[name]
        }

    @property
    def digest(self) -> str:
        """One SHA-256 for all that was shown, in hexadecimal."""
        return aspect(sorted(self.aspects.items()))[1]


def aspect(things: Iterable[object]) -> tuple[int, str]:
    """How many `things` there are, and the SHA-256 of their JSON in this order; what JSON has not is text in it."""
    listed = list(things)
    text = json.dumps(listed, ensure_ascii=True, separators=(",", ":"), sort_keys=True, default=str)
    return len(listed), hashlib.sha256(text.encode()).hexdigest()


def token(user: AbstractBaseUser, decision: str, aspects: Aspects) -> str:
    """The signed value with which the form of `decision` (which one, about what) returns what `user` was shown."""
    content = [user.pk, decision, timezone.now().timestamp(), aspects]
    return signing.dumps(content, salt=SALT, compress=True)


def read(text: str, user: AbstractBaseUser, decision: str) -> Seen:
    """What `token()` put into `text` for the same person and decision.

    Where it did not, nothing was shown, which is never how things stand.
    """
    try:
        whose, what, at, aspects = signing.loads(text, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        whose, what, at, aspects = None, "", 0.0, {}
    if (whose, what) != (user.pk, decision):
        at, aspects = 0.0, {}
    seen = {name: (number, digest) for name, (number, digest) in aspects.items()}
    return Seen(datetime.fromtimestamp(at, tz=UTC), seen)


def nothing_was_shown() -> Changed:
    """What a form gets that does not come from the page that shows its subject."""
    return Changed([_("Nothing was done: look at how things stand, then decide.")])
