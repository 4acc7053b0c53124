"""Settings: a value that cannot be used stops the start with a sentence that names it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py check` with these variables on top of the tests' own."""
    return subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "maybe"),
        ("GOEASY_REST_HOST", "hang zhou"),
        ("GOEASY_REST_HOST", "https://goeasy.evil.example"),
        ("GOEASY_REST_HOST", "http://rest-hz.goeasy.io"),
        ("GOEASY_ALLOWED_HOSTS", "*"),
        ("GOEASY_ALLOWED_HOSTS", "https://rest.example.com"),
        ("GOEASY_ALLOWED_HOSTS", ""),
        ("GOEASY_CONCURRENCY", "0"),
        ("GOEASY_CONCURRENCY", "1.5"),
        ("GOEASY_MAX_CALLS_PER_SECOND", "fast"),
        ("GOEASY_READ_TIMEOUT", "-1"),
        ("DATABASE_URL", "mysql://root@localhost/console"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "postgres://console:ge/heim@localhost/console"),
        ("DATABASE_URL", "postgres://console:ge?heim@localhost/console"),
        ("DATABASE_URL", "postgres://console:ge#heim@localhost/console"),
        ("DATABASE_URL", "postgres://console:ge@heim@localhost/console"),
        ("DATABASE_URL", "postgres://console:ge[heim@localhost/console"),
        ("DATABASE_URL", "postgres://console:geheim@localhost:heim/console"),
        ("EMAIL_URL", "smtp+tls://console:ge/heim@localhost:587"),
        ("EMAIL_URL", "smtp+tls://console:geheim@localhost:heim"),
        ("MEDIA_ORIGINS", "files.example.com"),
        ("CSRF_TRUSTED_ORIGINS", "console.example.com"),
        ("RECALL_GRACE_SECONDS", "soon"),
        ("AUDIT_SIGNING_KEY", "c2hvcnQ="),
        ("AUDIT_SIGNING_KEY", "not Base64"),
        ("AUDIT_FORMER_PUBLIC_KEYS", "c2hvcnQ="),
        ("AUDIT_CHECKPOINT_MINUTES", "0"),
        ("AUDIT_CHECKPOINT_URL", "http://logs.example.com/"),
        ("AUDIT_CHECKPOINT_URL", "logs.example.com"),
        ("AUDIT_CHECKPOINT_STDOUT", "perhaps"),
    ],
)
def test_a_bad_value_stops_the_start_and_is_named(name: str, value: str) -> None:
    done = check(**{name: value})
    assert done.returncode != 0
    assert done.stderr.startswith(f"{name} cannot be used: ")
    assert "Traceback" not in done.stderr
    assert "heim" not in done.stderr


def test_outside_debug_there_is_no_default_key() -> None:
    done = check(DEBUG="false", SECRET_KEY="")
    assert done.returncode != 0
    assert done.stderr.startswith("SECRET_KEY is not set.")


def test_the_deployment_check_has_nothing_to_say() -> None:
    secret = "".join(chr(33 + number % 90) for number in range(7, 77))
    done = check("--deploy", "--fail-level", "WARNING", DEBUG="false", HTTPS="true", SECRET_KEY=secret)
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr


def test_every_name_that_settings_read_is_explained() -> None:
    source = (ROOT / "moderation" / "settings.py").read_text()
    example = (ROOT / ".env.example").read_text()
    names = set(re.findall(r'(?:read|read_exactly)\("([A-Z_]+)"', source))
    assert len(names) > 15
    assert names == set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
