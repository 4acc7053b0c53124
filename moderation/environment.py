"""Reads settings from the process's environment and from `.env`: each value as it was written, or not at all.

A line of `.env` that two readers could understand differently is refused with its number. Variables of the process
win over the file. No error repeats a secret, or another value that looks like a key.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

MASK = "•••"
LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(?P<value>.*)", re.DOTALL)
SINGLE_QUOTED = re.compile(r"'(?P<text>[^']*)'\s*(#.*)?")
DOUBLE_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(#.*)?')
# As GoEasy writes its keys, and what else has the length and the mixture of one.
KEY = re.compile(r"\b[A-Z]{2}-[0-9A-Za-z]{6,}|\b(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[\w-]{16,}", re.ASCII)
# Characters that are seen as nothing, beside those of a category of such: Unicode's Default_Ignorable_Code_Point.
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
REFERENCE = re.compile(r"\$(\w+|\{\w+\})")


class Reading(NamedTuple):
    """A setting as it was read: `source` is "environment", ".env", "default", or the name of the file's setting."""

    name: str
    text: str
    source: str
    is_secret: bool

    @property
    def shown(self) -> str:
        """Its text; of a secret only how long it is, of an address with one no password, path or query."""
        if not self.is_secret or not self.text or self.text.startswith("sqlite:"):
            return self.text
        scheme, separator, rest = self.text.partition("://")
        if not separator:
            return f"{MASK} ({len(self.text)} characters)"
        user, at, host = rest.rpartition("@")
        user = f"{user.partition(':')[0]}:{MASK}@" if at else ""
        host, slash, name = host.partition("/")
        # Of a database the name is no secret; of another address the path may be.
        name = name.partition("?")[0] if scheme.startswith("postgres") else MASK
        return f"{scheme}://{user}{host.partition('?')[0]}{slash and '/' + name}"


class Environment:
    """The variables of `.env` at `file` and of the process; `readings` are those that were asked for, by name."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent
        self.in_file = parse_file(file)
        self.in_process = set(os.environ)
        self.readings: dict[str, Reading] = {}
        for name, text in self.in_file.items():
            # What libraries read themselves (HTTPS_PROXY, REQUESTS_CA_BUNDLE) may stand in the file, too.
            os.environ.setdefault(name, text)

    def read(self, name: str, cast: Callable[[str], Any], default: str, *, secret: bool = False) -> Any:
        """The value of `name` through `cast`, without blanks around it. Raises ImproperlyConfigured naming `name`."""
        return self._read(name, lambda text: cast(text.strip()), default, secret)

    def read_exactly(self, name: str, cast: Callable[[str], str] = str) -> str:
        """The text of the secret `name` with every blank that it has, through `cast`; empty where it is not set."""
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
                f"{name} cannot be used: it holds a character that is not seen (U+{ord(sign):04X}), perhaps copied "
                "along. Type the value, or copy it from somewhere else."
            )
        try:
            return cast(text)
        except (ValueError, ImproperlyConfigured) as problem:
            raise ImproperlyConfigured(f"{name} cannot be used: {without_keys(str(problem), text)}") from None

    def _source(self, name: str) -> str:
        return "environment" if name in self.in_process else ".env" if name in self.in_file else "default"

    def _read_secret(self, name: str, file: str) -> str:
        """What the file of the secret `name` holds, less its last end of line. Raises ImproperlyConfigured."""
        if os.environ.get(name, "").strip():
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Set one of them.")
        try:
            # Relative to the folder of .env.
            text = (self.folder / file).read_text(encoding="utf-8-sig").rstrip("\r\n")
        except OSError as problem:
            raise ImproperlyConfigured(f"{name}_FILE cannot be used: {file}: {problem.strerror}.") from None
        except UnicodeDecodeError:
            raise ImproperlyConfigured(f"{name}_FILE cannot be used: {file} is not UTF-8 text.") from None
        if not text.strip():
            raise ImproperlyConfigured(f"{name}_FILE cannot be used: {file} is empty.")
        return text


def invisible_character(text: str) -> str:
    """The first character of `text` that is not seen, or is seen as a blank and is none; empty when there is none."""
    for sign in text:
        category = unicodedata.category(sign)
        if sign not in " \t\r\n" and (category in {"Cc", "Cf", "Zl", "Zp", "Zs"} or UNSEEN.match(sign)):
            return sign
    return ""


def without_keys(sentence: str, text: str) -> str:
    """`sentence`, which says why `text` is refused, without what looks like a key in it."""
    shown = sentence
    for key in KEY.findall(text):
        shown = re.sub(re.escape(key), MASK, shown, flags=re.IGNORECASE)
    return shown if shown == sentence else f"{shown} It looks like a key, and is not repeated here."


def parse_file(file: Path) -> dict[str, str]:
    """The variables of `file`; none where there is no such file. Raises ImproperlyConfigured naming file and line."""
    try:
        # A byte-order mark, as Windows writes it, is no part of the first name.
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise ImproperlyConfigured(f"{file.name} is there and cannot be read: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{file.name} is not UTF-8. Save it in that encoding.") from None
    if "\x00" in text:
        raise ImproperlyConfigured(f"{file.name} holds a NUL character: it is not the text that it should be.")
    found: dict[str, str] = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line.lstrip())
        if match is None:
            raise ImproperlyConfigured(f"{file.name}, line {number}: it is neither NAME=value nor a comment.")
        name = match["name"]
        if name in found:
            raise ImproperlyConfigured(f"{file.name}, line {number}: {name} stands there twice.")
        try:
            found[name] = parse_value(match["value"])
        except ValueError as problem:
            raise ImproperlyConfigured(f"{file.name}, line {number}: {name} {problem}") from None
    return found


def parse_value(text: str) -> str:
    """What stands after the equals sign, unquoted. Raises ValueError, which does not repeat it."""
    if text.startswith("'"):
        if match := SINGLE_QUOTED.fullmatch(text):
            return match["text"]
        raise ValueError("begins with a quotation mark and does not end with it.")
    if text.startswith('"'):
        if match := DOUBLE_QUOTED.fullmatch(text):
            return re.sub(r"\\([^rnt])", r"\1", match["text"])
        raise ValueError("begins with a quotation mark and does not end with it.")
    if re.search(r"(^|\s)#", text):
        raise ValueError(
            "has a # after a blank. Put a comment on a line of its own, or, where the # belongs to the value, "
            "the value in single quotation marks."
        )
    if REFERENCE.fullmatch(text.strip()):
        raise ValueError(
            "looks like the name of another variable, which is not followed here. Write its value, or, where this is "
            "the value, put it in single quotation marks."
        )
    return text
