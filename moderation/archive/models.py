"""Conversations, their messages, and the senders.

Every timestamp here is GoEasy's: milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.db import models
from django.db.models.functions import Greatest, Least
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from moderation.applications.models import Application
from moderation.archive.events import ConversationOpened
from moderation.audit.models import Action
from moderation.audit.request_context import current_actor
from moderation.audit.services import record, was_recorded_lately
from moderation.characters import is_blank
from moderation.goeasy.answers import json_value
from moderation.goeasy.client import Group, Private
from moderation.goeasy.fields import recaller_of


class Kind(models.TextChoices):
    """Kinds of conversation."""

    PRIVATE = "private", _("private")
    GROUP = "group", _("group")


def pair(user_a: str, user_b: str) -> tuple[str, str]:
    """Return the two users of a private conversation in canonical order: by code point.

    docs/goeasy-api.md, "Two conversations that are one".
    """
    return (user_a, user_b) if user_a <= user_b else (user_b, user_a)


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """Conversations by their GoEasy target."""

    def named(self, application: Application, target: Private | Group) -> ConversationQuerySet:
        """The conversation that `target` names; (a, b) and (b, a) are the same."""
        if isinstance(target, Group):
            return self.filter(application=application, kind=Kind.GROUP, group_id=target.group_id)
        user_a, user_b = pair(target.user_a, target.user_b)
        return self.filter(application=application, kind=Kind.PRIVATE, user_a=user_a, user_b=user_b)

    def open(self, application: Application, target: Private | Group) -> Conversation:
        """Return the conversation that `target` names, creating it when it is new."""
        if isinstance(target, Group):
            return self.get_or_create(application=application, kind=Kind.GROUP, group_id=target.group_id)[0]
        user_a, user_b = pair(target.user_a, target.user_b)
        return self.get_or_create(application=application, kind=Kind.PRIVATE, user_a=user_a, user_b=user_b)[0]


class Conversation(models.Model):
    """A private chat between two users, or a group's chat, of one application."""

    application = models.ForeignKey(Application, models.PROTECT, verbose_name=_("application"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    user_a = models.CharField(max_length=255, blank=True, default="")
    user_b = models.CharField(max_length=255, blank=True, default="")
    group_id = models.CharField(max_length=255, blank=True, default="")
    last_timestamp = models.BigIntegerField(_("latest message"), default=0)
    # The latest name and avatar of a group in its messages, and when (ms) that message was sent.
    name = models.CharField(_("name"), max_length=255, blank=True, default="", editable=False)
    avatar = models.CharField(max_length=2000, blank=True, default="", editable=False)
    named_as_of = models.BigIntegerField(default=0, editable=False)
    # Messages sent until then (ms) have been compared with GoEasy's history.
    compared_until = models.BigIntegerField(default=0, editable=False)
    # When GoEasy's history was last read, and the result ("" for success, else an error's `kind`).
    history_read_at = models.DateTimeField(null=True, editable=False)
    history_problem = models.CharField(max_length=32, blank=True, default="", editable=False)
    # A legal hold, during which nothing in the conversation is deleted: since when, by whom, and why.
    held_at = models.DateTimeField(null=True, editable=False)
    held_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    hold_note = models.TextField(blank=True, default="", max_length=2_000, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        permissions = [
            ("open_conversation", "Can open a conversation that the archive does not know"),
            ("hold_conversation", "Can put a conversation on hold, and end that"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=(
                    models.Q(kind="private", group_id="") & ~models.Q(user_a="") & ~models.Q(user_b="")
                    | models.Q(kind="group", user_a="", user_b="") & ~models.Q(group_id="")
                ),
                name="conversation_names_a_pair_or_a_group",
            ),
            # Enforced for either order of the two users.
            models.UniqueConstraint(
                "application",
                Least("user_a", "user_b"),
                Greatest("user_a", "user_b"),
                condition=models.Q(kind="private"),
                name="one_conversation_per_pair",
            ),
            models.UniqueConstraint(
                fields=["application", "group_id"],
                condition=models.Q(kind="group"),
                name="one_conversation_per_group",
            ),
        ]
        indexes = [
            # The conversation list: newest first, by key.
            models.Index(fields=["-last_timestamp", "-id"], name="conversation_newest_first"),
            # The latest result of reading history, for the home page.
            models.Index(fields=["application", "-history_read_at"], name="conversation_read_lately"),
            # Finding a conversation by both users, or by either.
            models.Index(fields=["user_a", "user_b"], name="conversation_by_user_a"),
            models.Index(fields=["user_b"], name="conversation_by_user_b"),
        ]

    def __str__(self) -> str:
        return self.ids

    def get_absolute_url(self) -> str:
        return reverse("conversation", args=[self.pk])

    @property
    def shown_name(self) -> str:
        """The group's name; empty when it has no visible characters."""
        return "" if is_blank(self.name) else self.name

    @property
    def ids(self) -> str:
        """The conversation's GoEasy ids, formatted for people."""
        return self.group_id if self.kind == Kind.GROUP else f"{self.user_a} ↔ {self.user_b}"

    @property
    def target(self) -> Private | Group:
        """The conversation as a target of the GoEasy client."""
        if self.kind == Kind.GROUP:
            return Group(self.group_id)
        return Private(self.user_a, self.user_b)

    def for_audit(self) -> dict[str, str]:
        """The conversation as stored in an audit entry (docs/interface.md, `export_audit`)."""
        if self.kind == Kind.GROUP:
            return {"kind": "group", "group_id": self.group_id}
        return {"kind": "private", "user_a": self.user_a, "user_b": self.user_b}

    def record_opening(self, page: str) -> None:
        """Record that the current user is about to read this conversation on `page`.

        A private conversation is recorded each time, a group once an hour for each reader.
        """
        if self.kind == Kind.GROUP:
            self.record_reading_on(page)
            return
        self._record(page)

    def record_reading_on(self, page: str) -> None:
        """Record an opening unless the log has one by the same user within the last hour."""
        fields = {"action": Action.CONVERSATION_OPENED, "app": self.application.slug, **self.for_audit()}
        if not was_recorded_lately(**fields):
            self._record(page)

    def _record(self, page: str) -> None:
        record(
            ConversationOpened(
                actor=current_actor(), app=self.application.slug, conversation=self.for_audit(), page=page
            )
        )


class Sender(models.Model):
    """The latest name and avatar of an application's user, taken from messages."""

    application = models.ForeignKey(Application, models.CASCADE)
    user_id = models.CharField(max_length=255)
    name = models.CharField(max_length=255, blank=True, default="")
    avatar = models.CharField(max_length=2000, blank=True, default="")
    # Time (ms) of the message with the name: an older message must not overwrite a newer name.
    as_of = models.BigIntegerField(default=0)
    # As in `SearchText`, for name and id (`search/people.py`). Without `rules` the name is not indexed yet.
    words = models.TextField(null=True, editable=False)  # noqa: DJ001 - of old rows nothing is known
    rules = models.PositiveIntegerField(null=True, editable=False)

    class Meta:
        verbose_name = _("sender")
        verbose_name_plural = _("senders")
        constraints = [
            models.UniqueConstraint(fields=["application", "user_id"], name="one_row_per_sender_and_application")
        ]
        # Senders that the worker has to index.
        indexes = [models.Index(fields=["rules"], name="sender_by_rules")]

    def __str__(self) -> str:
        return self.shown_name or self.user_id

    def get_absolute_url(self) -> str:
        return f"{reverse('sender', args=[self.application.slug])}?{urlencode({'id': self.user_id})}"

    @property
    def shown_name(self) -> str:
        """The name; empty when it has no visible characters."""
        return "" if is_blank(self.name) else self.name


def _loaded(text: str) -> Any:
    """The parsed JSON `text`; None when it is malformed."""
    try:
        return json_value(text.strip())
    except ValueError:
        return None


class Message(models.Model):
    """A message as received from GoEasy. `archive/ingest.py` is the only writer.

    A message whose text was erased on request (`privacy/erasure.py`) stays, so that history does not bring it back;
    its `raw`, `recalled_raw` and `sha256` are empty.
    """

    # No index of its own: those below begin with it.
    conversation = models.ForeignKey(Conversation, models.PROTECT, verbose_name=_("conversation"), db_index=False)
    timestamp = models.BigIntegerField(_("timestamp"))
    # Time of arrival (ms), set when the timestamp is implausible (`archive/moments.py`); then used for ordering.
    placed_at = models.BigIntegerField(null=True, editable=False)
    message_id = models.CharField(_("message id"), max_length=255, blank=True, default="")
    sender_id = models.CharField(_("sender"), max_length=255, blank=True, default="")
    type = models.CharField(_("type"), max_length=64, blank=True, default="")
    # The exact JSON text first received from GoEasy, and its SHA-256 in hex.
    raw = models.TextField(_("raw message"))
    sha256 = models.CharField(max_length=64)
    # Hash of type and payload, which distinguishes messages without an id, recalled or not.
    payload_sha256 = models.CharField(max_length=64)
    recalled = models.BooleanField(_("recalled"), default=False)
    # The exact JSON text that reported the recall, when it differs from `raw`.
    recalled_raw = models.TextField(blank=True, default="")
    seen_at = models.DateTimeField(_("first seen"), auto_now_add=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        permissions = [("erase_text", "Can erase what a person wrote")]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "message_id"],
                condition=~models.Q(message_id=""),
                name="one_message_per_conversation_and_id",
            ),
            models.UniqueConstraint(
                fields=["conversation", "timestamp", "sender_id", "payload_sha256"],
                condition=models.Q(message_id=""),
                name="one_message_without_id_per_time_sender_and_payload",
            ),
        ]
        indexes = [
            # The timeline, by key in either direction.
            models.Index(fields=["conversation", "timestamp", "id"], name="message_timeline"),
            # The timeline's messages that are ordered by arrival.
            models.Index(
                fields=["conversation", "placed_at", "id"],
                condition=models.Q(placed_at__isnull=False),
                name="message_placed_by_arrival",
            ),
            # The same for searches, and for a sender's page.
            models.Index(
                fields=["placed_at", "id"],
                condition=models.Q(placed_at__isnull=False),
                name="any_message_placed_by_arrival",
            ),
            models.Index(
                fields=["sender_id", "placed_at", "id"],
                condition=models.Q(placed_at__isnull=False),
                name="sender_placed_by_arrival",
            ),
            # What has arrived since a page was made.
            models.Index(fields=["conversation", "id"], name="message_by_arrival"),
            # A message by its id, or by its timestamp alone.
            models.Index(fields=["message_id"], condition=~models.Q(message_id=""), name="message_by_id"),
            models.Index(fields=["timestamp"], name="message_by_timestamp"),
            # "All from this sender".
            models.Index(fields=["sender_id", "timestamp"], name="message_by_sender"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.timestamp}"

    @property
    def sort_time(self) -> int:
        """The message's position in the timeline (ms): its timestamp, or its arrival when that is implausible."""
        return self.timestamp if self.placed_at is None else self.placed_at

    @property
    def is_erased(self) -> bool:
        """Whether its text was erased on request."""
        return not self.sha256

    @cached_property
    def data(self) -> dict[str, Any]:
        """The parsed message; empty when the raw text is not a JSON object."""
        data = _loaded(self.raw)
        return data if isinstance(data, dict) else {}

    @property
    def recaller(self) -> dict[str, Any]:
        """The recaller that clients see: `{"id": …, "data": {…}}`, or empty."""
        data = _loaded(self.recalled_raw or self.raw)
        return recaller_of(data) if isinstance(data, dict) else {}
