"""The admin site as this console has it."""

from django.contrib.admin.apps import AdminConfig


class ConsoleAdminConfig(AdminConfig):
    """Django admin, with this console's site."""

    default_site = "moderation.admin_site.ConsoleAdminSite"

    def ready(self) -> None:
        super().ready()
        # Registers the checks.
        from moderation import checks  # noqa: F401
