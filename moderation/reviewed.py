"""Detect changes between the page on which a person decided and the moment the decision is carried out.

The form of a decision carries a signed token for one person and one decision. It lists the aspects of the subject that
the page showed, each as a count and a digest. The code that carries out the decision computes the aspects again, under
its lock, and raises `Changed` if they differ: the person then sees the subject again.

The signature prevents a form that did not come from the page; the digests do not reveal their content.
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

# By name of the aspect: number of items, and a digest of them.
Aspects = dict[str, tuple[int, str]]

SALT = "moderation.reviewed"


class Changed(Exception):
    """The subject has changed since the person saw it; `messages` say what is different."""

    def __init__(self, messages: Collection[str]) -> None:
        super().__init__(" ".join(messages))
        self.messages = list(messages)

    @property
    def message(self) -> str:
        return " ".join(self.messages)


@dataclass(frozen=True)
class Seen:
    """The aspects that a person saw, and when."""

    at: datetime
    aspects: Aspects

    def differences(self, now: Aspects) -> dict[str, int]:
        """Changed aspects, each with the difference of its number of items."""
        return {
            name: now[name][0] - self.aspects.get(name, (0, ""))[0]
            for name in now
            if self.aspects.get(name) != now[name]
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all aspects, in hexadecimal."""
        return aspect(sorted(self.aspects.items()))[1]


def aspect(items: Iterable[object]) -> tuple[int, str]:
    """Number of `items`, and the SHA-256 of their JSON in this order; other types are converted to text."""
    listed = list(items)
    text = json.dumps(listed, ensure_ascii=True, separators=(",", ":"), sort_keys=True, default=str)
    return len(listed), hashlib.sha256(text.encode()).hexdigest()


def token(user: AbstractBaseUser, decision: str, aspects: Aspects) -> str:
    """Signed token for the form of `decision` (its kind and subject), with the aspects shown to `user`."""
    content = [user.pk, decision, timezone.now().timestamp(), aspects]
    return signing.dumps(content, salt=SALT, compress=True)


def read(text: str, user: AbstractBaseUser, decision: str) -> Seen:
    """Aspects from a token for the same person and decision.

    They are empty for any other token, and therefore never match a subject.
    """
    try:
        user_id, signed_decision, at, aspects = signing.loads(text, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        user_id, signed_decision, at, aspects = None, "", 0.0, {}
    if (user_id, signed_decision) != (user.pk, decision):
        at, aspects = 0.0, {}
    seen = {name: (number, digest) for name, (number, digest) in aspects.items()}
    return Seen(datetime.fromtimestamp(at, tz=UTC), seen)


def not_shown_error() -> Changed:
    """Error for a form that did not come from the page of its subject."""
    return Changed([_("Nothing was changed. Check the current state, then decide.")])
