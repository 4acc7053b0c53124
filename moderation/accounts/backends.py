"""Authentication backend: user name and password, permissions from the role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser

from moderation.accounts.roles import LEAD, Role, role_allows

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class RoleBackend(ModelBackend):
    """Authenticates by user name and password; permissions come from the user's role."""

    def has_perm(self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Any = None) -> bool:
        """Whether the active user's role has `perm`; never per object."""
        return obj is None and user_obj.is_active and role_allows(getattr(user_obj, "role", ""), perm)

    def has_module_perms(self, user_obj: AbstractBaseUser | AnonymousUser, app_label: str) -> bool:
        """Whether the role has any permission in an app; Django admin checks it before listing the app."""
        role = getattr(user_obj, "role", "")
        if not user_obj.is_active:
            return False
        if role in {Role.ADMIN, Role.AUDITOR}:
            return True
        return role == Role.LEAD and any(name.startswith(f"{app_label}.") for name in LEAD)
