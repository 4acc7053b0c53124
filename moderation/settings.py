"""Settings of the console. `.env.example` explains every variable that is read.

An invalid value prevents the start with a message that names the variable.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from moderation.audit.verifier import read_public_key
from moderation.environment import (
    DEBUG_KEY,
    NEW_KEY,
    Environment,
    boolean,
    comma_separated,
    email_config,
    former_keys,
    goeasy_key,
    goeasy_keys,
    key_seed,
    mount_path,
    number,
    origins,
    secure_url,
    strong_key,
    time_zone,
    url_config,
    whole_number,
)
from moderation.goeasy.client import base_url
from moderation.goeasy.destinations import AllowedHosts
from moderation.paths import BASE_DIR, RESOURCES

# The database, keys, exports and backups are readable by the console's account only.
os.umask(0o077)

environment = Environment(BASE_DIR / ".env")
read = environment.read


def public_keys(text: str) -> list[bytes]:
    """Comma-separated public keys, each as `audit_checkpoint` prints it."""
    return [read_public_key(key)[0] for key in comma_separated(text)]


def folder(text: str) -> Path:
    """A folder, relative to the console's folder."""
    if not text:
        raise ValueError("it is empty.")
    return BASE_DIR / text


def path(text: str) -> str:
    """A file, relative to the console's folder; empty for none."""
    return str(BASE_DIR / text) if text else ""


def rest_host(text: str) -> str:
    """A region, host name or base URL to which a key may be sent, unchanged."""
    if problem := GOEASY_ALLOWED_HOSTS.problem(base_url(text)):
        raise ValueError(problem)
    return text


def database_config(text: str) -> dict[str, Any]:
    """Django's settings for the URL of an SQLite or PostgreSQL database. Empty: SQLite in DATA_DIR."""
    if text and not text.startswith(("sqlite:///", "postgres://", "postgresql://")):
        raise ValueError("it must begin with sqlite:/// or postgres://.")
    if not text or text.startswith("sqlite:///"):
        # Take the path literally: folder names may contain characters that are special in URLs.
        name = (text.removeprefix("sqlite:///") or ":memory:") if text else DATA_DIR / "console.sqlite3"
        settings: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
        if name != ":memory:":
            settings["NAME"] = str(BASE_DIR / name)
            Path(settings["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        # Closing the last connection cleans up the WAL: not after each request.
        settings["CONN_MAX_AGE"] = None
        settings["OPTIONS"] = {
            # Write transactions lock at the start, so that they wait instead of failing half-way.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # Full sync: a committed intent survives a power cut, not only a crash.
            # Temporary tables in memory: only the database's folder has to be writable.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;",
        }
    else:
        settings = url_config(environ.Env.db_url_config, text)
        settings["OPTIONS"] = {
            **settings.get("OPTIONS", {}),
            "pool": {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 15},
        }
        # After a restart of the server the pool contains dead connections.
        settings["CONN_HEALTH_CHECKS"] = True
        # PgBouncer in transaction mode may change the connection between two fetches of a cursor.
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True
    return settings


DEBUG = read("DEBUG", boolean, "false")

SECRET_KEY = environment.read_exactly("SECRET_KEY", partial(strong_key, debug=DEBUG))
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(f"SECRET_KEY is not set. {NEW_KEY}")
    SECRET_KEY = DEBUG_KEY
SECRET_KEY_FALLBACKS = read("SECRET_KEY_FALLBACKS", partial(former_keys, debug=DEBUG), "", secret=True)
# Encrypts keys in the database; if empty, SECRET_KEY does. The fallbacks only decrypt older values.
FIELD_ENCRYPTION_KEY = read("FIELD_ENCRYPTION_KEY", partial(strong_key, debug=DEBUG), "", secret=True)
FIELD_ENCRYPTION_KEY_FALLBACKS = read("FIELD_ENCRYPTION_KEY_FALLBACKS", comma_separated, "", secret=True)

# All files of the console: the SQLite database, the signing key, checkpoint and exports.
DATA_DIR = read("DATA_DIR", folder, "data")

ALLOWED_HOSTS = read("ALLOWED_HOSTS", comma_separated, "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = read("CSRF_TRUSTED_ORIGINS", origins, "")

# GoEasy: the application `default` (docs/architecture.md; docs/interface.md, "Environment")
GOEASY_APPKEY = read("GOEASY_APPKEY", goeasy_key, "", secret=True)
GOEASY_ALLOWED_HOSTS = read("GOEASY_ALLOWED_HOSTS", AllowedHosts.parse, "*.goeasy.io")
GOEASY_REST_HOST = read("GOEASY_REST_HOST", rest_host, "hangzhou")
GOEASY_SECRET_KEYS = read("GOEASY_SECRET_KEY", goeasy_keys, "", secret=True)
GOEASY_CONCURRENCY = read("GOEASY_CONCURRENCY", whole_number(1, 64), "8")
GOEASY_MAX_CALLS_PER_SECOND = read("GOEASY_MAX_CALLS_PER_SECOND", number(0, 10_000), "0")
GOEASY_CONNECT_TIMEOUT = read("GOEASY_CONNECT_TIMEOUT", number(0.1, 60), "5")
GOEASY_READ_TIMEOUT = read("GOEASY_READ_TIMEOUT", number(0.1, 300), "20")

# Seconds during which a recall can be cancelled before its first request is sent.
RECALL_GRACE_SECONDS = read("RECALL_GRACE_SECONDS", number(0, 3600), "5")
# Whether, and how many seconds after an accepted call, history is read to verify that its messages are gone.
RECALL_VERIFY = read("RECALL_VERIFY", boolean, "true")
RECALL_VERIFY_AFTER = read("RECALL_VERIFY_AFTER", number(0, 3600), "10")
# Maximum number of messages of one sweep (all messages of a sender, across conversations).
SWEEP_MAX_MESSAGES = int(read("SWEEP_MAX_MESSAGES", number(1, 100_000), "10000"))
# Interval (minutes) at which active conversations are compared with history to find missed messages; 0: never.
FEED_COMPARE_MINUTES = read("FEED_COMPARE_MINUTES", whole_number(0, 10_000), "10")
# Days for which webhook deliveries are kept after their messages are archived; 0: forever.
WEBHOOK_KEEP_DAYS = read("WEBHOOK_KEEP_DAYS", whole_number(0, 36_500), "30")
# Maximum content of a webhook delivery (MB). A form encodes a byte of it as up to three.
WEBHOOK_MAX_MB = read("WEBHOOK_MAX_MB", whole_number(1, 100), "20")
WEBHOOK_MAX_BYTES = WEBHOOK_MAX_MB * 1024 * 1024
WEBHOOK_MAX_BODY_BYTES = 3 * WEBHOOK_MAX_BYTES + 64 * 1024
# A reader who opens more conversations than this in an hour raises an alarm; 0: no alarms.
READER_ALARM_PER_HOUR = read("READER_ALARM_PER_HOUR", whole_number(0, 100_000), "100")
# Origins from which browsers may show attachments of any application, after a click; each application can add more.
MEDIA_ORIGINS = read("MEDIA_ORIGINS", origins, "")
# Checkpoints of the audit log: signing key, interval, and where they are published.
AUDIT_SIGNING_KEY = read("AUDIT_SIGNING_KEY", partial(key_seed, debug=DEBUG), "", secret=True)
AUDIT_FORMER_PUBLIC_KEYS = read("AUDIT_FORMER_PUBLIC_KEYS", public_keys, "")
AUDIT_KEY_FILE = DATA_DIR / "audit-signing-key"
# Exports that were requested in Django admin are kept here for a day.
AUDIT_EXPORT_DIR = DATA_DIR / "exports"
AUDIT_CHECKPOINT_MINUTES = read("AUDIT_CHECKPOINT_MINUTES", number(1, 1440), "60")
AUDIT_CHECKPOINT_FILE = read("AUDIT_CHECKPOINT_FILE", path, str(DATA_DIR / "audit-checkpoint"))
AUDIT_CHECKPOINT_URL = read("AUDIT_CHECKPOINT_URL", secure_url, "", secret=True)
AUDIT_CHECKPOINT_STDOUT = read("AUDIT_CHECKPOINT_STDOUT", boolean, "false")
# Number of proxies in front of the console that add to X-Forwarded-For; determines the recorded client address.
FORWARDED_HOPS = read("FORWARDED_HOPS", whole_number(0, 10), "0")
# Path of the console on a shared host.
SCRIPT_NAME = read("SCRIPT_NAME", mount_path, "")
FORCE_SCRIPT_NAME = SCRIPT_NAME or None
# Whether browsers use TLS: enables secure cookies, redirects and HSTS.
HTTPS = read("HTTPS", boolean, "false" if DEBUG else "true")

DATABASE_POOL_SIZE = read("DATABASE_POOL_SIZE", whole_number(2, 500), "20")
DATABASES = {"default": read("DATABASE_URL", database_config, "", secret=True)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "moderation.accounts",
    "moderation.goeasy",
    "moderation.applications",
    "moderation.archive",
    "moderation.ingestion",
    "moderation.search",
    "moderation.outbox",
    "moderation.audit",
    "recall",
    "moderation.desk",
    "moderation.privacy",
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
    "moderation.audit.request_context.remember_request",
    "moderation.middleware.serve_machine_endpoints",
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
    "moderation.accounts.middleware.set_retry_after",
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
        "DIRS": [RESOURCES / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["moderation.template_loader.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "django.template.context_processors.tz",
                "moderation.operations.context.worker",
                "moderation.operations.context.version",
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

# Mail server for alarms to the admins who have an e-mail address.
vars().update(read("EMAIL_URL", email_config, "consolemail://", secret=True))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read("EMAIL_FROM", str, "console@localhost")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [RESOURCES / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
# The zone of people whose browser has not said theirs.
CONSOLE_TIME_ZONE = read("CONSOLE_TIME_ZONE", time_zone, "UTC")

STATIC_URL = f"{SCRIPT_NAME}/static/"
STATICFILES_DIRS = [RESOURCES / "static"]
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
# Static files are readable by everybody, because a proxy that serves them may run under another account.
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o755

# No inline code, no eval, no frames, in admin either.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        # The page of a conversation adds the origins allowed for its attachments.
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
# After the last use (`accounts/middleware.py`, renew_session).
SESSION_COOKIE_AGE = 12 * 3600
SESSION_SAVE_EVERY_REQUEST = False
# One form can have 5,000 timestamps.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 6_000

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(request_id)s: %(message)s"}},
    "filters": {
        "request": {"()": "moderation.audit.request_context.NameRequest"},
        "one_line": {"()": "moderation.audit.request_context.OneLine"},
        "repeats": {"()": "moderation.log_limits.LimitRepeats"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["repeats", "request"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # urllib3 logs whole URLs at DEBUG, and history's URL contains the key.
    "loggers": {
        "urllib3": {"level": "WARNING"},
        # Any client can send another Host header: one line without a traceback is enough.
        "django.security.DisallowedHost": {"filters": ["one_line"]},
    },
}
