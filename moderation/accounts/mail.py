"""E-mail to the admins."""

from collections.abc import Callable

from django.conf import settings
from django.core.mail import send_mail
from django.utils import translation

from moderation.accounts.models import User
from moderation.accounts.roles import Role


def mail_admins(write: Callable[[], tuple[str, list[str]]]) -> None:
    """Send every admin with an address what `write` makes in their language: subject and paragraphs. Raises OSError."""
    for admin in User.objects.filter(role=Role.ADMIN, is_active=True).exclude(email=""):
        with translation.override(admin.language or settings.LANGUAGE_CODE):
            subject, paragraphs = write()
            send_mail(subject, "\n\n".join(paragraphs), None, [admin.email])
