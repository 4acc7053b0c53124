"""What an admin does on the first day, each step done when the facts say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from moderation.accounts.models import User
from moderation.accounts.roles import Role
from moderation.applications.models import Application
from moderation.audit.models import Action, AuditEntry
from moderation.ingestion.models import Feed


@dataclass(frozen=True)
class Step:
    """A step: what to do, why or how, and where."""

    title: str | Promise
    help: str | Promise
    is_done: bool
    address: str = ""


def first_steps(applications: Sequence[Application]) -> list[Step]:
    """The steps in their order, empty when all are done; at most five queries, each answered by an index."""
    page = reverse("admin:applications_application_changelist")
    if len(applications) == 1:
        page = reverse("admin:applications_application_change", args=[applications[0].pk])
    has_key = any(application.is_configured for application in applications)
    steps = [
        Step(
            _("Add an application"),
            _("An application of GoEasy, with its region."),
            bool(applications),
            reverse("admin:applications_application_add"),
        ),
        Step(
            _("Enter its key, and test the connection"),
            _("“Test connection” on the application’s page says whether GoEasy accepts the key."),
            has_key and is_connected(),
            page,
        ),
        Step(
            _("Switch the webhook on"),
            _("In GoEasy’s console, with the address on the application’s page. Done with the first delivery."),
            Feed.objects.filter(first_at__isnull=False).exists(),
            page,
        ),
        Step(
            _("Check GoEasy before going live"),
            _("On the server: manage.py goeasy_check sends three messages between two test users and recalls them."),
            has_been_checked(),
        ),
        Step(
            _("Add the first moderator"),
            _("An account of a person who recalls messages."),
            User.objects.filter(role__in=[Role.MODERATOR, Role.LEAD], is_active=True).exists(),
            reverse("admin:accounts_user_add"),
        ),
    ]
    return [] if all(step.is_done for step in steps) else steps


def is_connected() -> bool:
    """Whether GoEasy accepted a key: in a test, or in answer to a recall."""
    tests = AuditEntry.objects.filter(action=Action.CONNECTION_TESTED, response_code=200)
    answers = AuditEntry.objects.filter(response_code=200, action=Action.ANSWERED)
    return tests.exists() or answers.exists()


def has_been_checked() -> bool:
    """Whether a check of GoEasy came to its end: its last entry is the newest of its kind, or near it."""
    newest = AuditEntry.objects.filter(action=Action.GOEASY_CHECKED).order_by("-at", "-id")
    details = newest.values_list("detail", flat=True)[:100]
    return any(detail.get("step") == "ended" and not detail.get("problem") for detail in details)
