"""Settings of the console. Every name it reads from the environment is explained in `.env.example`.

A value that cannot be used stops the start with a sentence that names the variable.
"""

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from moderation.audit.verifier import read_public_key
from moderation.environment import Environment
from moderation.goeasy.client import base_url
from moderation.goeasy.destinations import AllowedHosts

BASE_DIR = Path(__file__).resolve().parent.parent

# The database, keys, exports and backups are for the console's account alone, whichever process creates them.
os.umask(0o077)

environment = Environment(BASE_DIR / ".env")
read = environment.read


def boolean(text: str) -> bool:
    """true/false, yes/no, on/off, 1/0; anything else is an error, never quietly false."""
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"", "0", "false", "no", "off"}:
        return False
    raise ValueError(f"“{text}” is neither true nor false.")


def strong_key(text: str) -> str:
    """A key that nobody guesses, or empty for none. Errors do not repeat it."""
    if text and not DEBUG:
        if len(text) < MIN_KEY_LENGTH or len(set(text)) < MIN_KEY_CHARACTERS:
            raise ValueError(
                f"it is too easy to guess: it has {len(text)} characters, {len(set(text))} of them distinct, and needs "
                f"at least {MIN_KEY_LENGTH} and {MIN_KEY_CHARACTERS}. {NEW_KEY}"
            )
        if text == DEBUG_KEY:
            raise ValueError(f"it is the public key of DEBUG. {NEW_KEY}")
    return text


def former_keys(text: str) -> list[str]:
    """A comma-separated list of former SECRET_KEYs: whoever guesses one can still forge sessions."""
    try:
        return [strong_key(key) for key in words(text)]
    except ValueError:
        raise ValueError(
            f"a key in it is too easy to guess: fewer than {MIN_KEY_LENGTH} characters, or than {MIN_KEY_CHARACTERS} "
            "distinct ones. Move it to FIELD_ENCRYPTION_KEY_FALLBACKS: it then opens stored keys and nothing else."
        ) from None


def goeasy_key(text: str) -> str:
    """A key of GoEasy's, or empty for none. Errors do not repeat it."""
    if not text.isascii() or re.search(r"\s", text):
        raise ValueError("a key has neither spaces nor letters beyond ASCII. Copy it again.")
    return text


def goeasy_keys(text: str) -> list[str]:
    """A comma-separated list of keys of GoEasy's."""
    return [goeasy_key(key) for key in words(text)]


def words(text: str) -> list[str]:
    """A comma-separated list, empty parts dropped."""
    return [word.strip() for word in text.split(",") if word.strip()]


def number(low: float, high: float) -> Callable[[str], float]:
    """A cast to a number between `low` and `high`, both included."""

    def cast(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"“{text}” is not a number.") from None
        if not low <= value <= high:
            raise ValueError(f"{text} is not between {low:g} and {high:g}.")
        return value

    return cast


def whole(low: int, high: int) -> Callable[[str], int]:
    """A cast to a whole number between `low` and `high`, both included."""

    def cast(text: str) -> int:
        value = number(low, high)(text)
        if value != int(value):
            raise ValueError(f"{text} is not a whole number.")
        return int(value)

    return cast


def origins(text: str) -> list[str]:
    """A comma-separated list of origins such as https://files.example.com."""
    found = words(text)
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
            raise ValueError(f"“{origin}” is not an origin like https://files.example.com.")
    return [origin.rstrip("/") for origin in found]


def key_seed(text: str) -> bytes:
    """A private Ed25519 key: 32 bytes in Base64; empty for none. Errors do not repeat it."""
    try:
        seed = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("it is not Base64.") from None
    if len(seed) not in {0, 32}:
        raise ValueError(f"it has {len(seed)} bytes, not 32.")
    if seed and len(set(seed)) < MIN_KEY_CHARACTERS and not DEBUG:
        raise ValueError("it is too easy to guess: take 32 random bytes.")
    return seed


def public_keys(text: str) -> list[bytes]:
    """A comma-separated list of public keys, each as `audit_checkpoint` prints it."""
    return [read_public_key(key)[0] for key in words(text)]


def secure_url(text: str) -> str:
    """An https:// address, or an http:// one of this machine; empty for none."""
    parts = urlsplit(text)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if text and not (parts.hostname and (parts.scheme == "https" or local)):
        raise ValueError("it must begin with https:// (http:// only for this machine).")
    return text


def folder(text: str) -> Path:
    """A folder, relative to the console's."""
    if not text:
        raise ValueError("it names no folder.")
    return BASE_DIR / text


def path(text: str) -> str:
    """A file, relative to the console's folder; empty for none."""
    return str(BASE_DIR / text) if text else ""


def mount_path(text: str) -> str:
    """The path below which a proxy has the console, such as /console; empty for none."""
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError("it is not a path like /console: a slash first, none at its end.")
    return text


def rest_host(text: str) -> str:
    """A region, host name or base URL that the key may be sent to; kept as it was written."""
    if problem := GOEASY_ALLOWED_HOSTS.problem(base_url(text)):
        raise ValueError(problem)
    return text


def url_config(parse: Callable[[str], dict[str, Any]], text: str) -> dict[str, Any]:
    """What `parse` reads from the URL `text`. Raises ValueError with a sentence that does not repeat it."""
    before_host, _at, _host = text.partition("://")[2].rpartition("@")
    if re.search(r"[/?#@\[\]\s]", before_host) or "#" in text:
        raise ValueError(
            "its user name or password, or something after them, holds one of / ? # @ [ ] or a blank, which would "
            "end it there. Write such a sign as % and its number: / as %2F, ? as %3F, # as %23, @ as %40."
        )
    try:
        return dict(parse(text))
    except ValueError:
        # urllib quotes what it cannot read: a part of the password perhaps.
        raise ValueError("it is not a URL that can be read. Is its port a number?") from None


def database(text: str) -> dict[str, Any]:
    """Django's settings for a database URL; only the two engines that the console is tested on. Empty: SQLite."""
    if text and not text.startswith(("sqlite:///", "postgres://", "postgresql://")):
        raise ValueError("it must begin with sqlite:/// or postgres://.")
    if not text or text.startswith("sqlite:///"):
        # The file's path to the letter: a sign that means something in other URLs may stand in a folder's name.
        name = (text.removeprefix("sqlite:///") or ":memory:") if text else DATA_DIR / "console.sqlite3"
        settings: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
        if name != ":memory:":
            settings["NAME"] = str(BASE_DIR / name)
            Path(settings["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        # Whoever closes the last connection tidies the file up: not after each request.
        settings["CONN_MAX_AGE"] = None
        settings["OPTIONS"] = {
            # A write transaction takes its lock at the start, so that it waits instead of failing half-way.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # Full sync: an intent that was committed survives a power cut, not only a crash.
            # Nothing but the database's own folder need be writable.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;",
        }
    else:
        settings = url_config(environ.Env.db_url_config, text)
        settings["OPTIONS"] = {
            **settings.get("OPTIONS", {}),
            "pool": {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 15},
        }
        # After a restart of the server the pool holds connections that are dead.
        settings["CONN_HEALTH_CHECKS"] = True
        # Between two fetches PgBouncer in transaction mode may change the connection that a cursor lives in.
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True
    return settings


def email(text: str) -> dict[str, Any]:
    """Django's settings for a mail server's URL, with a time-out: smtp+tls://user:password@host:587."""
    if urlsplit(text).scheme not in environ.Env.EMAIL_SCHEMES:
        raise ValueError(f"it must begin with one of {', '.join(sorted(environ.Env.EMAIL_SCHEMES))}.")
    settings = url_config(environ.Env.email_url_config, text)
    return {**{name: value for name, value in settings.items() if name.startswith("EMAIL_")}, "EMAIL_TIMEOUT": 10}


DEBUG = read("DEBUG", boolean, "false")

# What Django's own deployment check (security.W009) asks of a SECRET_KEY.
MIN_KEY_LENGTH, MIN_KEY_CHARACTERS = 50, 5
DEBUG_KEY = "for-debugging-only-" + "never-outside-debug-" * 3
NEW_KEY = (
    "Put a long random text into .env, for example the output of: "
    "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
)
SECRET_KEY = environment.read_exactly("SECRET_KEY", strong_key)
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(f"SECRET_KEY is not set. {NEW_KEY}")
    SECRET_KEY = DEBUG_KEY
SECRET_KEY_FALLBACKS = read("SECRET_KEY_FALLBACKS", former_keys, "", secret=True)
# Encrypts keys in the database; while it is empty, SECRET_KEY does. The fallbacks only open what was encrypted before.
FIELD_ENCRYPTION_KEY = read("FIELD_ENCRYPTION_KEY", strong_key, "", secret=True)
FIELD_ENCRYPTION_KEY_FALLBACKS = read("FIELD_ENCRYPTION_KEY_FALLBACKS", words, "", secret=True)

# Everything that the console keeps beside a database server: SQLite's file, the signing key, checkpoint and exports.
DATA_DIR = read("DATA_DIR", folder, "data")

ALLOWED_HOSTS = read("ALLOWED_HOSTS", words, "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = read("CSRF_TRUSTED_ORIGINS", origins, "")

# GoEasy: the application `default` (architecture.md; interface.md, "Environment")
GOEASY_APPKEY = read("GOEASY_APPKEY", goeasy_key, "", secret=True)
GOEASY_ALLOWED_HOSTS = read("GOEASY_ALLOWED_HOSTS", AllowedHosts.parse, "*.goeasy.io")
GOEASY_REST_HOST = read("GOEASY_REST_HOST", rest_host, "hangzhou")
GOEASY_SECRET_KEYS = read("GOEASY_SECRET_KEY", goeasy_keys, "", secret=True)
GOEASY_CONCURRENCY = read("GOEASY_CONCURRENCY", whole(1, 64), "8")
GOEASY_MAX_CALLS_PER_SECOND = read("GOEASY_MAX_CALLS_PER_SECOND", number(0, 10_000), "0")
GOEASY_CONNECT_TIMEOUT = read("GOEASY_CONNECT_TIMEOUT", number(0.1, 60), "5")
GOEASY_READ_TIMEOUT = read("GOEASY_READ_TIMEOUT", number(0.1, 300), "20")

# Seconds in which a recall can still be called off before its first request leaves.
RECALL_GRACE_SECONDS = read("RECALL_GRACE_SECONDS", number(0, 3600), "5")
# Whether history is read after an accepted call for whether its messages are gone, and how many seconds later.
RECALL_VERIFY = read("RECALL_VERIFY", boolean, "true")
RECALL_VERIFY_AFTER = read("RECALL_VERIFY_AFTER", number(0, 3600), "10")
# One sweep (all that a sender wrote, across conversations) takes back this many messages at most.
SWEEP_MAX_MESSAGES = int(read("SWEEP_MAX_MESSAGES", number(1, 100_000), "10000"))
# How often (minutes) an active conversation is compared with history for what the webhook did not bring; 0: never.
FEED_COMPARE_MINUTES = read("FEED_COMPARE_MINUTES", whole(0, 10_000), "10")
# Days for which a webhook delivery is kept whose messages are all in the archive; 0: for ever.
WEBHOOK_KEEP_DAYS = read("WEBHOOK_KEEP_DAYS", whole(0, 36_500), "30")
# The largest content of a webhook's delivery (MB), and of the body around it: a form writes a byte as up to three.
WEBHOOK_MAX_MB = read("WEBHOOK_MAX_MB", whole(1, 100), "20")
WEBHOOK_MAX_BYTES = WEBHOOK_MAX_MB * 1024 * 1024
WEBHOOK_MAX_BODY_BYTES = 3 * WEBHOOK_MAX_BYTES + 64 * 1024
# A reader who opens more conversations than this in an hour raises an alarm; 0: nobody does.
READER_ALARM_PER_HOUR = read("READER_ALARM_PER_HOUR", whole(0, 100_000), "100")
# Origins from which a browser may show any application's attachments, after a click; Django admin has each one's own.
MEDIA_ORIGINS = read("MEDIA_ORIGINS", origins, "")
# The audit log's checkpoints: what they are signed with, how often, and where they are written.
AUDIT_SIGNING_KEY = read("AUDIT_SIGNING_KEY", key_seed, "", secret=True)
AUDIT_FORMER_PUBLIC_KEYS = read("AUDIT_FORMER_PUBLIC_KEYS", public_keys, "")
AUDIT_KEY_FILE = DATA_DIR / "audit-signing-key"
# Where workers put exports that were asked for in Django admin, for a day.
AUDIT_EXPORT_DIR = DATA_DIR / "exports"
AUDIT_CHECKPOINT_MINUTES = read("AUDIT_CHECKPOINT_MINUTES", number(1, 1440), "60")
AUDIT_CHECKPOINT_FILE = read("AUDIT_CHECKPOINT_FILE", path, str(DATA_DIR / "audit-checkpoint"))
AUDIT_CHECKPOINT_URL = read("AUDIT_CHECKPOINT_URL", secure_url, "", secret=True)
AUDIT_CHECKPOINT_STDOUT = read("AUDIT_CHECKPOINT_STDOUT", boolean, "false")
# How many proxies stand before the console, each adding to X-Forwarded-For: whose address the audit log records.
FORWARDED_HOPS = read("FORWARDED_HOPS", whole(0, 10), "0")
# The path of a host that is not the console's alone.
SCRIPT_NAME = read("SCRIPT_NAME", mount_path, "")
FORCE_SCRIPT_NAME = SCRIPT_NAME or None
# Whether browsers reach the console over TLS: secure cookies, redirect, HSTS.
HTTPS = read("HTTPS", boolean, "false" if DEBUG else "true")

DATABASE_POOL_SIZE = read("DATABASE_POOL_SIZE", whole(2, 500), "20")
DATABASES = {"default": read("DATABASE_URL", database, "", secret=True)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "moderation.accounts",
    "moderation.goeasy",
    "moderation.archive",
    "moderation.audit",
    "recall",
    "moderation.operations",
    "moderation.apps.ConsoleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "django_tasks",
    "django_tasks_db",
]

MIDDLEWARE = [
    "moderation.audit.requests.remember_request",
    "moderation.middleware.answer_machines",
    "django.middleware.security.SecurityMiddleware",
    "moderation.middleware.replace_nul",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "moderation.middleware.keep_private",
    "moderation.accounts.middleware.PreferencesMiddleware",
    "moderation.accounts.middleware.tell_to_wait",
    "moderation.accounts.middleware.remember_device",
    "moderation.accounts.middleware.renew_session",
    "moderation.accounts.middleware.keep_unsent_forms",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "moderation.urls"
WSGI_APPLICATION = "moderation.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "django.template.context_processors.tz",
            ],
        },
    }
]

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["moderation.accounts.backends.RoleBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

# Where alarms go out by e-mail, to the admins who have an address.
vars().update(read("EMAIL_URL", email, "consolemail://", secret=True))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read("EMAIL_FROM", str, "console@localhost")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = f"{SCRIPT_NAME}/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "moderation.static_storage.ModuleManifestStorage"
        )
    },
}
WHITENOISE_USE_FINDERS = DEBUG
# Collected static files are readable by everybody: a proxy that serves them may run under another account.
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o755

# Nothing inline, nothing evaluated, nothing framed: admin included.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        # A conversation's page adds the hosts that are allowed for its application's attachments.
        "img-src": [SELF, "data:"],
        "media-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_FAILURE_VIEW = "moderation.accounts.csrf.form_refused"
LANGUAGE_COOKIE_SECURE = HTTPS
LANGUAGE_COOKIE_HTTPONLY = True
# From its last use (`accounts/middleware.py`, renew_session).
SESSION_COOKIE_AGE = 12 * 3600
SESSION_SAVE_EVERY_REQUEST = False
# 5,000 timestamps travel as one form.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 6_000

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(request_id)s: %(message)s"}},
    "filters": {
        "request": {"()": "moderation.audit.requests.NameRequest"},
        "one_line": {"()": "moderation.audit.requests.OneLine"},
        "repeats": {"()": "moderation.log_limits.LimitRepeats"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["repeats", "request"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # urllib3 writes whole URLs at DEBUG, and history's URL carries the key.
    "loggers": {
        "urllib3": {"level": "WARNING"},
        # Anybody who reaches the port can send another Host: the sentence is enough.
        "django.security.DisallowedHost": {"filters": ["one_line"]},
    },
}
