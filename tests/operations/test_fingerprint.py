"""The fingerprint of the settings in a backup."""

from __future__ import annotations

from typing import Any

from moderation.goeasy.destinations import AllowedHosts
from moderation.operations.fingerprint import PLAIN, SECRETS, differences, fingerprint
from moderation.settings import environment

# Settings that depend on the machine, and are not compared.
MACHINE_SETTINGS = {
    *("DATA_DIR", "DATABASE_URL", "DATABASE_POOL_SIZE", "EMAIL_URL", "EMAIL_FROM", "AUDIT_CHECKPOINT_FILE"),
}
SALT = b"0123456789abcdef"


def test_every_setting_that_does_not_depend_on_the_machine_is_in_the_fingerprint() -> None:
    names = {name for name in environment.readings if not name.endswith("_FILE") or name == "AUDIT_CHECKPOINT_FILE"}
    assert names == {*SECRETS, *PLAIN, *MACHINE_SETTINGS}


def test_changed_allowed_hosts_are_a_difference(settings: Any) -> None:
    former = fingerprint(SALT)
    settings.GOEASY_ALLOWED_HOSTS = AllowedHosts.parse("goeasy.corp.example,10.1.2.0/24")
    assert differences(former, SALT) == ["GOEASY_ALLOWED_HOSTS"]
