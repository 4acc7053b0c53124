"""Settings from the process's environment and from `.env`, and casts that parse their values.

Ambiguous lines of `.env` are refused by number. Variables of the process override the file. Errors never repeat a
secret, or another value that looks like a key.
"""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import environ
from django.core.exceptions import ImproperlyConfigured

from moderation.characters import is_invisible

MASK = "•••"
LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(?P<value>.*)", re.DOTALL)
SINGLE_QUOTED = re.compile(r"'(?P<text>[^']*)'\s*(#.*)?")
DOUBLE_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(#.*)?')
# GoEasy's keys, and other text as long and as mixed as a key.
KEY = re.compile(r"\b[A-Z]{2}-[0-9A-Za-z]{6,}|\b(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[\w-]{16,}", re.ASCII)
REFERENCE = re.compile(r"\$(\w+|\{\w+\})")


class Reading(NamedTuple):
    """A setting as it was read: `source` is "environment", ".env", "default", or the name of its _FILE variable."""

    name: str
    text: str
    source: str
    is_secret: bool

    @property
    def shown(self) -> str:
        """Text to display: a secret is masked, and a URL with a secret has no password, path or query."""
        if not self.is_secret or not self.text or self.text.startswith("sqlite:"):
            return self.text
        scheme, separator, rest = self.text.partition("://")
        if not separator:
            return f"{MASK} ({len(self.text)} characters)"
        user, at, host = rest.rpartition("@")
        user = f"{user.partition(':')[0]}:{MASK}@" if at else ""
        host, slash, name = host.partition("/")
        # The name of a database is not secret; the path of another URL may be.
        name = name.partition("?")[0] if scheme.startswith("postgres") else MASK
        return f"{scheme}://{user}{host.partition('?')[0]}{slash and '/' + name}"


class Environment:
    """Variables of the process and of the `.env` at `file`; `readings` has those that were read, by name."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent
        self.in_file = parse_file(file)
        self.in_process = set(os.environ)
        self.readings: dict[str, Reading] = {}
        for name, text in self.in_file.items():
            # The file may also set variables that libraries read (HTTPS_PROXY, REQUESTS_CA_BUNDLE).
            os.environ.setdefault(name, text)

    def read(self, name: str, cast: Callable[[str], Any], default: str, *, secret: bool = False) -> Any:
        """Value of `name`, stripped and parsed by `cast`. Raises ImproperlyConfigured with `name`."""
        return self._read(name, lambda text: cast(text.strip()), default, secret)

    def read_exactly(self, name: str, cast: Callable[[str], str] = str) -> str:
        """Text of the secret `name`, unstripped, through `cast`; empty if it is not set."""
        text: str = self._read(name, cast, "", True)
        return text

    def _read(self, name: str, cast: Callable[[str], Any], default: str, secret: bool) -> Any:
        text, source = os.environ.get(name, default), self._source(name)
        if secret and f"{name}_FILE" in os.environ:
            file = os.environ[f"{name}_FILE"].strip()
            self.readings[f"{name}_FILE"] = Reading(f"{name}_FILE", file, self._source(f"{name}_FILE"), False)
            if file:
                text, source = self._read_secret(name, file), f"{name}_FILE"
        self.readings[name] = Reading(name, text, source, secret)
        if secret and (sign := invisible_character(text)):
            raise ImproperlyConfigured(
                f"{name} cannot be used: it contains an invisible character (U+{ord(sign):04X}), perhaps copied "
                "along. Type the value, or copy it from somewhere else."
            )
        try:
            return cast(text)
        except (ValueError, ImproperlyConfigured) as problem:
            raise ImproperlyConfigured(f"{name} cannot be used: {mask_keys(str(problem), text)}") from None

    def _source(self, name: str) -> str:
        return "environment" if name in self.in_process else ".env" if name in self.in_file else "default"

    def _read_secret(self, name: str, file: str) -> str:
        """Content of the secret's file, without the final line end. Raises ImproperlyConfigured."""
        if os.environ.get(name, "").strip():
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Set only one of them.")
        try:
            # Paths are relative to the folder of .env.
            text = (self.folder / file).read_text(encoding="utf-8-sig").rstrip("\r\n")
        except OSError as problem:
            raise ImproperlyConfigured(f"{name}_FILE cannot be used: {file}: {problem.strerror}.") from None
        except UnicodeDecodeError:
            raise ImproperlyConfigured(f"{name}_FILE cannot be used: {file} is not UTF-8 text.") from None
        if not text.strip():
            raise ImproperlyConfigured(f"{name}_FILE cannot be used: {file} is empty.")
        return text


def invisible_character(text: str) -> str:
    """First character of `text` that is invisible, or looks like a space and is none; empty if there is none."""
    for sign in text:
        # Spaces other than the plain one, controls, and the braille pattern without a dot.
        is_unprintable = unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp", "Zs"} or sign == "\u2800"
        if sign not in " \t\r\n" and (is_unprintable or is_invisible(sign)):
            return sign
    return ""


def mask_keys(message: str, text: str) -> str:
    """`message`, which says why `text` is refused, with anything in it that looks like a key masked."""
    masked = message
    for key in KEY.findall(text):
        masked = re.sub(re.escape(key), MASK, masked, flags=re.IGNORECASE)
    return masked if masked == message else f"{masked} It looks like a key and is not repeated here."


def parse_file(file: Path) -> dict[str, str]:
    """Variables of `file`; empty if it does not exist. Raises ImproperlyConfigured with file and line."""
    try:
        # Windows editors write a byte-order mark.
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise ImproperlyConfigured(f"{file.name} exists but cannot be read: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{file.name} is not in UTF-8. Save it in that encoding.") from None
    if "\x00" in text:
        raise ImproperlyConfigured(f"{file.name} contains a NUL character. Is it a text file?")
    variables: dict[str, str] = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line.lstrip())
        if match is None:
            raise ImproperlyConfigured(f"{file.name}, line {number}: this is neither NAME=value nor a comment.")
        name = match["name"]
        if name in variables:
            raise ImproperlyConfigured(f"{file.name}, line {number}: {name} is set twice.")
        try:
            variables[name] = parse_value(match["value"])
        except ValueError as problem:
            raise ImproperlyConfigured(f"{file.name}, line {number}: {name} {problem}") from None
    return variables


def parse_value(text: str) -> str:
    """Value after the equals sign, unquoted. Raises ValueError, which does not repeat it."""
    if text.startswith("'"):
        if match := SINGLE_QUOTED.fullmatch(text):
            return match["text"]
        raise ValueError("starts with a quotation mark and does not end with it.")
    if text.startswith('"'):
        if match := DOUBLE_QUOTED.fullmatch(text):
            return re.sub(r"\\([^rnt])", r"\1", match["text"])
        raise ValueError("starts with a quotation mark and does not end with it.")
    if re.search(r"(^|\s)#", text):
        raise ValueError(
            "has a # after a space. Put a comment on its own line; if the # belongs to the value, put the value in "
            "single quotation marks."
        )
    if REFERENCE.fullmatch(text.strip()):
        raise ValueError(
            "looks like a reference to another variable, which is not supported. Write the value itself; if this is "
            "the value, put it in single quotation marks."
        )
    return text


# Casts: parsers of values. Each raises ValueError with a message for people.

# The limits of Django's deployment check for SECRET_KEY (security.W009).
MIN_KEY_LENGTH, MIN_KEY_CHARACTERS = 50, 5
DEBUG_KEY = "for-debugging-only-" + "never-outside-debug-" * 3
NEW_KEY = (
    "Put a long random text into .env, for example the output of: "
    "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
)


def boolean(text: str) -> bool:
    """true/false, yes/no, on/off, 1/0 or empty for false; anything else is an error."""
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"", "0", "false", "no", "off"}:
        return False
    raise ValueError(f"“{text}” is neither true nor false.")


def strong_key(text: str, *, debug: bool) -> str:
    """A secret key that is hard to guess; empty for none. Errors do not repeat it."""
    if text and not debug:
        if len(text) < MIN_KEY_LENGTH or len(set(text)) < MIN_KEY_CHARACTERS:
            raise ValueError(
                f"it is too easy to guess: it has {len(text)} characters, {len(set(text))} of them distinct, and needs "
                f"at least {MIN_KEY_LENGTH} and {MIN_KEY_CHARACTERS}. {NEW_KEY}"
            )
        if text == DEBUG_KEY:
            raise ValueError(f"it is the public key of DEBUG. {NEW_KEY}")
    return text


def former_keys(text: str, *, debug: bool) -> list[str]:
    """Comma-separated former SECRET_KEYs; each must be strong, because it can still sign sessions."""
    try:
        return [strong_key(key, debug=debug) for key in comma_separated(text)]
    except ValueError:
        raise ValueError(
            f"a key in it is too easy to guess: fewer than {MIN_KEY_LENGTH} characters, or than {MIN_KEY_CHARACTERS} "
            "distinct ones. Move it to FIELD_ENCRYPTION_KEY_FALLBACKS: it then opens stored keys and nothing else."
        ) from None


def goeasy_key(text: str) -> str:
    """A key of GoEasy; empty for none. Errors do not repeat it."""
    if not text.isascii() or re.search(r"\s", text):
        raise ValueError("a key has neither spaces nor letters beyond ASCII. Copy it again.")
    return text


def goeasy_keys(text: str) -> list[str]:
    """Comma-separated keys of GoEasy. Errors do not repeat them."""
    return [goeasy_key(key) for key in comma_separated(text)]


def comma_separated(text: str) -> list[str]:
    """A comma-separated list without empty items."""
    return [word.strip() for word in text.split(",") if word.strip()]


def number(low: float, high: float) -> Callable[[str], float]:
    """Cast to a number from `low` to `high`."""

    def cast(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"“{text}” is not a number.") from None
        if not low <= value <= high:
            raise ValueError(f"{text} is not between {low:g} and {high:g}.")
        return value

    return cast


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Cast to a whole number from `low` to `high`."""

    def cast(text: str) -> int:
        value = number(low, high)(text)
        if value != int(value):
            raise ValueError(f"{text} is not a whole number.")
        return int(value)

    return cast


def time_zone(text: str) -> str:
    """The name of a time zone that this machine knows."""
    if text not in available_timezones():
        raise ValueError(f"“{text}” is not a time zone that this machine knows. Give one like Asia/Shanghai.")
    return text


def origins(text: str) -> list[str]:
    """Comma-separated origins such as https://files.example.com."""
    values = comma_separated(text)
    for origin in values:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
            raise ValueError(f"“{origin}” is not an origin like https://files.example.com.")
    return [origin.rstrip("/") for origin in values]


def key_seed(text: str, *, debug: bool) -> bytes:
    """A private Ed25519 key, 32 bytes in Base64; empty for none. Errors do not repeat it."""
    try:
        seed = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("it is not Base64.") from None
    if len(seed) not in {0, 32}:
        raise ValueError(f"it has {len(seed)} bytes, not 32.")
    if seed and len(set(seed)) < MIN_KEY_CHARACTERS and not debug:
        raise ValueError("it is too easy to guess: take 32 random bytes.")
    return seed


def secure_url(text: str) -> str:
    """An https:// URL, or an http:// URL of this machine; empty for none."""
    parts = urlsplit(text)
    local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if text and not (parts.hostname and (parts.scheme == "https" or local)):
        raise ValueError("it must begin with https:// (http:// only for this machine).")
    return text


def mount_path(text: str) -> str:
    """Path below which a proxy serves the console, such as /console; empty for none."""
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError("it is not a path like /console, with a slash at the start and none at the end.")
    return text


def url_config(parse: Callable[[str], dict[str, Any]], text: str) -> dict[str, Any]:
    """Parse the URL `text` with `parse`. Errors do not repeat it."""
    before_host, _at, _host = text.partition("://")[2].rpartition("@")
    if re.search(r"[/?#@\[\]\s]", before_host) or "#" in text:
        raise ValueError(
            "its user name, password or a later part contains one of / ? # @ [ ] or a space, which would end it there. "
            "Percent-encode such characters: / as %2F, ? as %3F, # as %23, @ as %40."
        )
    try:
        return dict(parse(text))
    except ValueError:
        # urllib's message quotes the URL, perhaps with a part of the password.
        raise ValueError("it is not a valid URL. Is its port a number?") from None


def email_config(text: str) -> dict[str, Any]:
    """Django's settings for the URL of a mail server, such as smtp+tls://user:password@host:587, with a time-out."""
    if urlsplit(text).scheme not in environ.Env.EMAIL_SCHEMES:
        raise ValueError(f"it must begin with one of {', '.join(sorted(environ.Env.EMAIL_SCHEMES))}.")
    settings = url_config(environ.Env.email_url_config, text)
    return {**{name: value for name, value in settings.items() if name.startswith("EMAIL_")}, "EMAIL_TIMEOUT": 10}
