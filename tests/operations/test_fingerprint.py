"""What a backup remembers of the settings."""

from __future__ import annotations

from typing import Any

from moderation.goeasy.destinations import AllowedHosts
from moderation.operations.fingerprint import PLAIN, SECRETS, differences, fingerprint
from moderation.settings import environment

# Where things are, and whom e-mail goes through: another machine has its own.
PLACES = {
    *("DATA_DIR", "DATABASE_URL", "DATABASE_POOL_SIZE", "EMAIL_URL", "EMAIL_FROM", "AUDIT_CHECKPOINT_FILE"),
}
SALT = b"0123456789abcdef"


def test_every_setting_is_in_the_fingerprint_unless_it_is_a_place() -> None:
    names = {name for name in environment.readings if not name.endswith("_FILE") or name == "AUDIT_CHECKPOINT_FILE"}
    assert names == {*SECRETS, *PLAIN, *PLACES}


def test_other_allowed_hosts_are_a_difference(settings: Any) -> None:
    made = fingerprint(SALT)
    settings.GOEASY_ALLOWED_HOSTS = AllowedHosts.parse("goeasy.corp.example,10.1.2.0/24")
    assert differences(made, SALT) == ["GOEASY_ALLOWED_HOSTS"]
