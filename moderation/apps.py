"""App configuration of the console's admin site and system checks."""

from django.contrib.admin.apps import AdminConfig


class ConsoleAdminConfig(AdminConfig):
    """Django admin with the console's site."""

    default_site = "moderation.admin_site.ConsoleAdminSite"

    def ready(self) -> None:
        super().ready()
        # Registers the checks.
        from moderation import checks  # noqa: F401
