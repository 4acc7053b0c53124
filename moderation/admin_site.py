"""Django admin under the console's name."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _


class ConsoleAdminSite(admin.AdminSite):
    """The admin that leads, auditors and admins use; what each may do there is in `accounts/roles.py`."""

    site_header = _("Moderation console")
    site_title = _("Moderation console")
    index_title = _("Administration")
