from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "moderation.accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        from moderation.accounts import signing_in

        signing_in.connect()
