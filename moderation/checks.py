"""System checks of the configuration: values that can each be used and do not fit together.

`manage.py check --deploy` runs them, and `manage.py check_config` beside what was understood of each setting.
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
# A worker's own connections beside those of the calls that it makes (docs/scaling.md): its loops, its threads for the
# recalls of three applications, and one more.
CONNECTIONS_BESIDE_CALLS = 12
# Names that libraries read, or a command by itself (BACKUP_PASSPHRASE).
LIBRARY_PREFIXES = ("DJANGO_", "REQUESTS_", "CURL_", "BACKUP_")
# How alike two names are (difflib's ratio) of which one is taken for a misspelling of the other.
ALIKE = 0.85


# Asked for by `check --deploy` and by check_config alone: no other command should begin with advice.
@register(Tags.compatibility, deploy=True)
def check_configuration(app_configs: Any = None, **options: Any) -> list[CheckMessage]:
    """Warnings about settings that are probably mistakes."""
    return [*check_names(), *check_browsers(), *check_goeasy(), *check_resources()]


def check_names() -> Iterator[CheckMessage]:
    """Names in `.env` that nothing reads, and names in the environment that are close to one that is read."""
    known = environment.readings
    for name in sorted({*environment.in_file, *os.environ} - known.keys()):
        close = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
        is_in_file = name in environment.in_file
        if close:
            yield Warning(f"{name} is set and is not read.", hint=f"Is {close[0]} meant?", id="console.W001")
        elif is_in_file and not name.startswith(LIBRARY_PREFIXES) and "PROXY" not in name.upper():
            yield Info(f"{name} stands in .env and is not read by the console.", id="console.I001")


def check_browsers() -> Iterator[CheckMessage]:
    """How browsers reach the console."""
    named = [host for host in settings.ALLOWED_HOSTS if host not in LOCAL_HOSTS]
    origins = [urlsplit(origin) for origin in settings.CSRF_TRUSTED_ORIGINS]
    if settings.DEBUG and named:
        yield Warning(
            f"DEBUG is on while browsers reach the console as {named[0]}: its error pages show settings to everybody.",
            hint="Set DEBUG=false.",
            id="console.W002",
        )
    if not settings.DEBUG and not settings.HTTPS and named:
        yield Warning(
            f"HTTPS is off while browsers reach the console as {named[0]}: passwords travel for everybody to read.",
            hint="Let a proxy end TLS and set HTTPS=true.",
            id="console.W003",
        )
    if settings.HTTPS and not settings.FORWARDED_HOPS and named:
        yield Info(
            "HTTPS is on and FORWARDED_HOPS is 0. Behind a proxy everybody would seem to come from its address.",
            hint="Set FORWARDED_HOPS to the number of proxies before the console, usually 1.",
            id="console.I002",
        )
    for origin in origins:
        if settings.HTTPS and origin.scheme == "http":
            yield Warning(
                f"CSRF_TRUSTED_ORIGINS trusts {origin.geturl()} while HTTPS is on: no form comes from there.",
                hint="Write https://.",
                id="console.W004",
            )
        if origin.hostname and not validate_host(origin.hostname, settings.ALLOWED_HOSTS):
            yield Info(
                f"CSRF_TRUSTED_ORIGINS names {origin.hostname}, which is not among ALLOWED_HOSTS.",
                hint="A proxy that changes the host needs both: the outer name here, the inner one there.",
                id="console.I003",
            )


def check_goeasy() -> Iterator[CheckMessage]:
    """The application `default`."""
    if settings.GOEASY_APPKEY.startswith("BS-"):
        yield Warning(
            "GOEASY_APPKEY begins with BS-: a subscribe-only key cannot recall.",
            hint="Use the common key (BC-…) or the REST key.",
            id="console.W005",
        )
    if settings.GOEASY_APPKEY and settings.GOEASY_APPKEY in settings.GOEASY_SECRET_KEYS:
        yield Warning(
            "GOEASY_APPKEY and GOEASY_SECRET_KEY are the same.",
            hint="The first calls GoEasy, the second (SecretKey) signs its webhooks.",
            id="console.W006",
        )
    if settings.GOEASY_SECRET_KEYS and not settings.GOEASY_APPKEY:
        yield Warning(
            "GOEASY_SECRET_KEY is set and GOEASY_APPKEY is not: the application “default” does not exist, "
            "and its webhooks are refused.",
            hint="Set GOEASY_APPKEY.",
            id="console.W007",
        )
    if not settings.RECALL_VERIFY and is_set("RECALL_VERIFY_AFTER"):
        yield Info("RECALL_VERIFY_AFTER has no effect while RECALL_VERIFY is false.", id="console.I004")


def check_resources() -> Iterator[CheckMessage]:
    """The database and the mail server."""
    needed = settings.GOEASY_CONCURRENCY + CONNECTIONS_BESIDE_CALLS
    is_postgresql = "postgresql" in settings.DATABASES["default"]["ENGINE"]
    if is_postgresql and needed > settings.DATABASE_POOL_SIZE:
        yield Warning(
            f"DATABASE_POOL_SIZE is {settings.DATABASE_POOL_SIZE}: a worker with GOEASY_CONCURRENCY="
            f"{settings.GOEASY_CONCURRENCY} uses up to {needed} connections and would wait for them.",
            hint=f"Set DATABASE_POOL_SIZE to {needed} or more.",
            id="console.W008",
        )
    if "smtp" in settings.EMAIL_BACKEND and not is_set("EMAIL_FROM"):
        yield Warning(
            f"E-mail goes out from {settings.DEFAULT_FROM_EMAIL}, which many mail servers refuse.",
            hint="Set EMAIL_FROM.",
            id="console.W009",
        )


def is_set(name: str) -> bool:
    """Whether somebody set it."""
    reading = environment.readings.get(name)
    return reading is not None and reading.source != "default"
