from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "moderation.accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from django.utils import timezone

        from moderation.accounts import attempts, signing_in, unsent
        from moderation.registry import Loop, register

        signing_in.connect()
        register(
            Loop("deleting old attempts to sign in", lambda: attempts.prune(timezone.now()), 30, thread="watching"),
            Loop("deleting old unsent forms", unsent.prune, 30, thread="watching"),
        )
