"""System checks for settings that are valid one by one but do not fit together.

`manage.py check --deploy` runs them, and so does `manage.py check_config`, which also prints the settings.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Info, Tags, Warning, register
from django.http.request import validate_host

from moderation.settings import environment

LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]", "testserver"}
# Connections of a worker besides those of its calls (docs/scaling.md): its loops, its threads for the recalls of three
# applications, and one more.
CONNECTIONS_BESIDES_CALLS = 12
# Prefixes of names that libraries or single commands read (BACKUP_PASSPHRASE).
LIBRARY_PREFIXES = ("DJANGO_", "REQUESTS_", "CURL_", "BACKUP_")
# difflib's similarity ratio above which a name is taken for a misspelling of another.
SIMILARITY = 0.85


# Only for `check --deploy` and check_config: other commands should not start with advice.
@register(Tags.compatibility, deploy=True)
def check_configuration(app_configs: Any = None, **options: Any) -> list[CheckMessage]:
    """Warn about settings that are probably mistakes."""
    return [*check_names(), *check_browsers(), *check_goeasy(), *check_resources()]


def check_names() -> Iterator[CheckMessage]:
    """Check for unused names in `.env`, and for probable misspellings in `.env` and the environment."""
    readings = environment.readings
    for name in sorted({*environment.in_file, *os.environ} - readings.keys()):
        close = difflib.get_close_matches(name, readings, n=1, cutoff=SIMILARITY)
        is_in_file = name in environment.in_file
        if close:
            yield Warning(f"{name} is set but not used.", hint=f"Did you mean {close[0]}?", id="console.W001")
        elif is_in_file and not name.startswith(LIBRARY_PREFIXES) and "PROXY" not in name.upper():
            yield Info(f"{name} is in .env, but the console does not use it.", id="console.I001")


def check_browsers() -> Iterator[CheckMessage]:
    """Check how browsers reach the console."""
    named = [host for host in settings.ALLOWED_HOSTS if host not in LOCAL_HOSTS]
    origins = [urlsplit(origin) for origin in settings.CSRF_TRUSTED_ORIGINS]
    if settings.DEBUG and named:
        yield Warning(
            f"DEBUG is on while browsers reach the console as {named[0]}: error pages show settings to everybody.",
            hint="Set DEBUG=false.",
            id="console.W002",
        )
    if not settings.DEBUG and not settings.HTTPS and named:
        yield Warning(
            f"HTTPS is off while browsers reach the console as {named[0]}: passwords are sent unencrypted.",
            hint="Terminate TLS at a proxy and set HTTPS=true.",
            id="console.W003",
        )
    if settings.HTTPS and not settings.FORWARDED_HOPS and named:
        yield Info(
            "HTTPS is on and FORWARDED_HOPS is 0. Behind a proxy all clients appear to have its address.",
            hint="Set FORWARDED_HOPS to the number of proxies in front of the console, usually 1.",
            id="console.I002",
        )
    for origin in origins:
        if settings.HTTPS and origin.scheme == "http":
            yield Warning(
                f"CSRF_TRUSTED_ORIGINS trusts {origin.geturl()} while HTTPS is on: no form can come from there.",
                hint="Write https://.",
                id="console.W004",
            )
        if origin.hostname and not validate_host(origin.hostname, settings.ALLOWED_HOSTS):
            yield Info(
                f"CSRF_TRUSTED_ORIGINS names {origin.hostname}, which is not in ALLOWED_HOSTS.",
                hint="If a proxy changes the host, list the outer name in the former and the inner name in the latter.",
                id="console.I003",
            )


def check_goeasy() -> Iterator[CheckMessage]:
    """Check the settings of the application `default`."""
    if settings.GOEASY_APPKEY.startswith("BS-"):
        yield Warning(
            "GOEASY_APPKEY starts with BS-: a subscribe-only key cannot recall messages.",
            hint="Use the common key (BC-…) or the REST key.",
            id="console.W005",
        )
    if settings.GOEASY_APPKEY and settings.GOEASY_APPKEY in settings.GOEASY_SECRET_KEYS:
        yield Warning(
            "GOEASY_APPKEY and GOEASY_SECRET_KEY are the same.",
            hint="The first is for calls to GoEasy, the second (SecretKey) verifies its webhooks.",
            id="console.W006",
        )
    if settings.GOEASY_SECRET_KEYS and not settings.GOEASY_APPKEY:
        yield Warning(
            "GOEASY_SECRET_KEY is set and GOEASY_APPKEY is not: the application “default” does not exist, and its "
            "webhooks are refused.",
            hint="Set GOEASY_APPKEY.",
            id="console.W007",
        )
    if not settings.RECALL_VERIFY and is_set("RECALL_VERIFY_AFTER"):
        yield Info("RECALL_VERIFY_AFTER has no effect while RECALL_VERIFY is false.", id="console.I004")


def check_resources() -> Iterator[CheckMessage]:
    """Check the database pool and the mail server."""
    needed = settings.GOEASY_CONCURRENCY + CONNECTIONS_BESIDES_CALLS
    is_postgresql = "postgresql" in settings.DATABASES["default"]["ENGINE"]
    if is_postgresql and needed > settings.DATABASE_POOL_SIZE:
        yield Warning(
            f"DATABASE_POOL_SIZE is {settings.DATABASE_POOL_SIZE}: a worker with GOEASY_CONCURRENCY="
            f"{settings.GOEASY_CONCURRENCY} uses up to {needed} connections and would have to wait for them.",
            hint=f"Set DATABASE_POOL_SIZE to {needed} or more.",
            id="console.W008",
        )
    if "smtp" in settings.EMAIL_BACKEND and not is_set("EMAIL_FROM"):
        yield Warning(
            f"E-mail is sent from {settings.DEFAULT_FROM_EMAIL}, which many mail servers refuse.",
            hint="Set EMAIL_FROM.",
            id="console.W009",
        )


def is_set(name: str) -> bool:
    """Whether the setting has a value other than by default."""
    reading = environment.readings.get(name)
    return reading is not None and reading.source != "default"
