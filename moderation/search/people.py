"""Search for people: by exact id, or by a part of their name or id, normalised like messages.

The worker indexes names like messages (`search/index.py`) within seconds; the few that are not indexed yet are
compared one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db.models import Q, QuerySet

from moderation.applications.models import Application
from moderation.archive import rows
from moderation.archive.models import Message, Sender
from moderation.search.grams import Needle, needle_of, words_of
from moderation.search.index import SENDERS, engine
from moderation.search.normalise import VERSION, normalise

PIECE = 500
# People returned by one search.
MAX_PEOPLE = 200
MAX_CANDIDATES = 1_000
# Messages read to find the applications in which an id has written.
MAX_MESSAGES = 1_000


def with_id(user_id: str, applications: Iterable[Application] | None = None) -> list[Sender]:
    """People with exactly this id, at most one per application: those with messages, and those with a known name.

    `applications`: all applications, if the caller has read them.
    """
    searched = Application.objects.all() if applications is None else applications
    by_pk = {each.pk: each for each in searched}
    by_application = {
        each.application_id: each for each in Sender.objects.filter(application__in=by_pk, user_id=user_id)
    }
    # Messages can only add people to the applications where none has been found.
    if user_id and len(by_application) < len(by_pk):
        latest = Message.objects.filter(sender_id=user_id).order_by("-timestamp")
        wrote = latest.values_list("conversation__application", flat=True)[:MAX_MESSAGES]
        for pk in set(wrote) & set(by_pk) - set(by_application):
            by_application[pk] = Sender(application_id=pk, user_id=user_id)
    for pk, sender in by_application.items():
        sender.application = by_pk[pk]
    return [by_application[pk] for pk in sorted(by_application)]


def named(text: str, *, or_with_id: bool = False, most: int = MAX_CANDIDATES) -> list[Sender]:
    """At most MAX_PEOPLE people whose name (`or_with_id`: or id) contains `text`, exact matches of the name first.

    `most` people whose name may contain it are compared.
    """
    needle = needle_of(text)
    if not needle.text:
        return []
    people = Sender.objects.select_related("application").order_by("pk")
    candidates = list(_indexed(people, needle, most)) + list(people.filter(rules=None).order_by("-pk")[:most])
    matching = {
        sender.pk: sender
        for sender in candidates
        if needle.text in normalise(sender.name) or (or_with_id and needle.text in normalise(sender.user_id))
    }
    return sorted(matching.values(), key=lambda sender: normalise(sender.name) != needle.text)[:MAX_PEOPLE]


def _indexed(people: QuerySet[Sender], needle: Needle, most: int) -> Iterable[Sender]:
    if not needle.is_in_index:
        return ()
    pks = engine().candidates(SENDERS, needle, most)
    return [sender for some in rows.in_parts(pks) for sender in people.filter(pk__in=some)]


def index_names(most: int = 10) -> int:
    """Index people whose name is new or was indexed by other rules, at most `most` pieces; return how many."""
    # Three conditions that each use the index, unlike a plain inequality.
    stale = Sender.objects.filter(Q(rules=None) | Q(rules__lt=VERSION) | Q(rules__gt=VERSION))
    indexed = 0
    for _piece in range(most):
        # Skip the lock when there is no work.
        if not stale.exists():
            break
        with rows.writing():
            people = list(stale.order_by("pk").select_for_update()[:PIECE])
            _index(people)
            indexed += len(people)
    return indexed


def _index(people: Collection[Sender]) -> None:
    engine().remove(SENDERS, [(sender.pk, sender.words) for sender in people if sender.words is not None])
    for sender in people:
        sender.words, sender.rules = words_of(normalise(f"{sender.name}\n{sender.user_id}")), VERSION
    Sender.objects.bulk_update(people, ["words", "rules"])
    engine().add(SENDERS, [(sender.pk, sender.words or "") for sender in people])
