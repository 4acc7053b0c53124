"""`.env` and the environment: values are read literally, or refused with a message that names the variable."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured

from moderation import settings
from moderation.environment import (
    Environment,
    Reading,
    boolean,
    email_config,
    mount_path,
    number,
    origins,
    parse_file,
    secure_url,
    whole_number,
)
from tests import console

ROOT = Path(__file__).resolve().parent.parent
LONG_KEY = "an-example-key-of-more-than-fifty-different-characters-0123456789"


def parse(tmp_path: Path, text: str | bytes) -> dict[str, str]:
    file = tmp_path / ".env"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse_file(file)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("NAME = spaced", "spaced"),
        ("export NAME=exported", "exported"),
        ("NAME=", ""),
        ("NAME=a=b==", "a=b=="),
        ("NAME=$ecret", None),
        ("NAME='$ecret'", "$ecret"),
        ("NAME=$ecret$and-more", "$ecret$and-more"),
        ("NAME=$$", "$$"),
        ("NAME=abc#def", "abc#def"),
        ("NAME='#begins'", "#begins"),
        ("NAME='with # inside'", "with # inside"),
        ("NAME='quoted'   # a comment", "quoted"),
        ('NAME="quoted" # a comment', "quoted"),
        (r'NAME="a \"b\" \\ c"', r'a "b" \ c'),
        ("NAME=a'b\"c", "a'b\"c"),
        (r"NAME=C:\new\table", r"C:\new\table"),
        ("NAME=密钥", "密钥"),
        ("NAME=a\u2028b", "a\u2028b"),
    ],
)
def test_a_value_is_read_literally(tmp_path: Path, line: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(ImproperlyConfigured, match="NAME looks like a reference to another variable"):
            parse(tmp_path, line)
    else:
        assert parse(tmp_path, line) == {"NAME": value}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_of_any_system_are_read(tmp_path: Path, end: str, mark: str) -> None:
    text = mark + end.join(["FIRST=1", "", "# a comment", "  # another", "SECOND='2'", ""])
    assert parse(tmp_path, text) == {"FIRST": "1", "SECOND": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nNAME=secret # a comment", ".env, line 2: NAME has a # after a space."),
        ("NAME=#secret", ".env, line 1: NAME has a # after a space."),
        ("NAME= # only a comment", ".env, line 1: NAME has a # after a space."),
        ("NAME='secret", ".env, line 1: NAME starts with a quotation mark"),
        ('NAME="secret', ".env, line 1: NAME starts with a quotation mark"),
        ("NAME='secret' and more", ".env, line 1: NAME starts with a quotation mark"),
        ("NAME=${secret}", ".env, line 1: NAME looks like a reference to another variable"),
        ("NAME=1\nNAME=secret", ".env, line 2: NAME is set twice."),
        ("NAME: secret", ".env, line 1: this is neither NAME=value nor a comment."),
        ("MY-NAME=secret", ".env, line 1: this is neither NAME=value nor a comment."),
        ("NAME=secret".encode("utf-16"), ".env is not in UTF-8."),
        (b"NAME=secret\xff", ".env is not in UTF-8."),
    ],
)
def test_an_ambiguous_line_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        parse(tmp_path, text)
    assert str(refused.value).startswith(message)
    assert "secret" not in str(refused.value)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ImproperlyConfigured, match=r"^\.env exists but cannot be read: "):
        parse_file(tmp_path / ".env")


def test_a_missing_file_has_no_variables(tmp_path: Path) -> None:
    assert parse_file(tmp_path / ".env") == {}


def test_a_variable_of_the_process_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "FROM_BOTH": " $process "})
    (tmp_path / ".env").write_text("FROM_BOTH=file\nFROM_FILE= file\n")
    environment = Environment(tmp_path / ".env")
    assert environment.read("FROM_BOTH", str, "") == "$process"
    assert environment.read("FROM_FILE", str, "") == "file"
    assert environment.read("FROM_NOWHERE", str, "default") == "default"
    assert environment.read_exactly("FROM_BOTH") == " $process "
    assert [each.source for each in environment.readings.values()] == ["environment", ".env", "default"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a-long-key", "••• (10 characters)"),
        ("sqlite:///data/console.sqlite3", "sqlite:///data/console.sqlite3"),
        ("postgres://user:geheim@db:5432/name?password=geheim", "postgres://user:•••@db:5432/name"),
        ("smtp+tls://user:geheim@mail.example.com:587", "smtp+tls://user:•••@mail.example.com:587"),
        ("https://logs.example.com/geheim?token=geheim", "https://logs.example.com/•••"),
        ("https://logs.example.com?token=geheim", "https://logs.example.com"),
    ],
)
def test_a_secret_is_displayed_masked(text: str, shown: str) -> None:
    assert Reading("NAME", text, "environment", True).shown == shown


def manage(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` in a copy of the console in `folder`, without variables."""
    if not (folder / "manage.py").exists():
        console.copy(folder)
    return console.run(folder, *command)


# Characters that are invisible, or look like a space and are none.
INVISIBLE = (
    "\x00\x1b\xa0\xad\u034f\u115f\u200b\u200d\u200e\u2028\u202e\u2060\u2800\u3000\u3164\ufe0f\ufeff\uffa0\U000e0041"
)


@pytest.mark.parametrize("sign", INVISIBLE, ids=lambda sign: f"U+{ord(sign):04X}")
def test_a_secret_with_an_invisible_character_is_refused(tmp_path: Path, sign: str) -> None:
    environment = Environment(tmp_path / ".env")
    (tmp_path / "key").write_text(f"geh{sign}eim", encoding="utf-8")
    with mock.patch.dict(os.environ, {"A_KEY_FILE": "key"}):
        for read in (
            lambda: environment.read("A_KEY", str, "", secret=True),
            lambda: environment.read_exactly("A_KEY"),
        ):
            with pytest.raises(ImproperlyConfigured) as refusal:
                read()
            assert re.search(rf"^A_KEY cannot be used: .*\(U\+{ord(sign):04X}\)", str(refusal.value))
            assert "eim" not in str(refusal.value)


@pytest.mark.parametrize("text", ["geheim", "ge heim", "gehéim", "密码", "ge\theim", "line\nline"])
def test_a_secret_may_contain_visible_characters(tmp_path: Path, text: str) -> None:
    environment = Environment(tmp_path / ".env")
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with mock.patch.dict(os.environ, {"A_KEY_FILE": "key"}):
        assert environment.read_exactly("A_KEY") == text


CASTS = (
    *(boolean, number(0, 1), whole_number(0, 1), origins, secure_url, mount_path, email_config),
    *(settings.folder, settings.rest_host, settings.database_config, settings.public_keys, settings.AllowedHosts.parse),
)
KEYS = [
    "BC-0123456789abcdef",
    "Rest-fedcba9876543210",
    "PC-abcdefgh",
    "https://BC-0123456789abcdef",
    "a1b2c3d4e5f6a7b8",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("cast", CASTS)
def test_a_refused_value_that_looks_like_a_key_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cast: Callable[[str], Any], key: str
) -> None:
    monkeypatch.setenv("NAME", key)
    try:
        Environment(tmp_path / ".env").read("NAME", cast, "")
    except ImproperlyConfigured as refusal:
        assert str(refusal).startswith("NAME cannot be used: ")
        assert not re.search("cdef|fedc|efgh|f6a7", str(refusal), re.IGNORECASE)


@pytest.mark.parametrize("text", ["hangzhuo", "rest-hangzhou", "http://rest-hz.goeasy.io", "goeasy.example.com:99999"])
def test_a_refused_value_that_does_not_look_like_a_key_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("NAME", text)
    with pytest.raises(ImproperlyConfigured, match=re.escape(text.rpartition("/")[2].partition(":")[0])):
        Environment(tmp_path / ".env").read("NAME", settings.rest_host, "")


def test_a_database_path_can_have_special_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a #1 folder? 100%41+"
    folder.mkdir()
    (folder / ".env").write_text(f"SECRET_KEY={LONG_KEY}\nDATABASE_URL='sqlite:///{folder}/x?y#z/db.sqlite3'\n")
    code = "from django.db import connection; connection.cursor(); print(connection.settings_dict['NAME'])"
    result = manage(folder, "shell", "--no-imports", "-c", code)
    assert result.stdout.strip() == str(folder / "x?y#z" / "db.sqlite3"), result.stderr
    assert (folder / "x?y#z" / "db.sqlite3").exists()


def test_check_config_prints_settings_without_secrets(tmp_path: Path) -> None:
    lines = [
        f"SECRET_KEY='{LONG_KEY}'",
        "GOEASY_APPKEY=BC-0123456789abcdef",
        "GOEASY_CONCURENCY=4",
        "SOMETHING_ELSE=1",
        "DATABASE_URL=postgres://console:geheim@db.example.com/console",
        "ALLOWED_HOSTS=console.example.com",
        "CSRF_TRUSTED_ORIGINS=http://console.example.com",
        "GOEASY_CONCURRENCY=32",
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    result = manage(tmp_path, "check_config", "--json")
    assert result.returncode == 1
    document = json.loads(result.stdout)
    settings = {each["name"]: (each["value"], each["source"]) for each in document["settings"]}
    assert settings["DATABASE_URL"] == ("postgres://console:•••@db.example.com/console", ".env")
    assert settings["GOEASY_CONCURRENCY"] == ("32", ".env")
    assert settings["FORWARDED_HOPS"] == ("0", "default")
    assert [each["id"] for each in document["messages"]] == [
        *("console.W001", "console.I001", "console.I002", "console.W004", "console.W008"),
    ]
    assert document["messages"][0]["hint"] == "Did you mean GOEASY_CONCURRENCY?"
    plain = manage(tmp_path, "check_config")
    assert plain.returncode == 1
    for secret in (LONG_KEY, "0123456789abcdef", "geheim"):
        assert secret not in result.stdout + result.stderr + plain.stdout + plain.stderr


def test_check_config_has_no_warning_about_the_example(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text().replace("\nSECRET_KEY=\n", f"\nSECRET_KEY={LONG_KEY}\n")
    (tmp_path / ".env").write_text(example)
    result = manage(tmp_path, "check_config")
    assert (result.returncode, "Warning" in result.stdout) == (0, False), result.stdout + result.stderr


def test_an_error_in_the_file_is_not_reported_as_an_unset_key(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={LONG_KEY} # mine\n")
    result = manage(tmp_path, "check")
    assert result.returncode != 0
    assert result.stderr.startswith(".env, line 1: SECRET_KEY has a # after a space.")
    assert "Traceback" not in result.stderr
