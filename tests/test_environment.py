"""`.env` and the environment: each value is read as it was written, or refused with a sentence that names it."""

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
from moderation.environment import Environment, Reading, parse_file
from tests import console

ROOT = Path(__file__).resolve().parent.parent
LONG_KEY = "an-example-key-of-more-than-fifty-different-characters-0123456789"


def parsed(tmp_path: Path, text: str | bytes) -> dict[str, str]:
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
def test_a_line_is_read_as_it_was_written(tmp_path: Path, line: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(ImproperlyConfigured, match="NAME looks like the name of another variable"):
            parsed(tmp_path, line)
    else:
        assert parsed(tmp_path, line) == {"NAME": value}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_from_any_system_is_read_alike(tmp_path: Path, end: str, mark: str) -> None:
    text = mark + end.join(["FIRST=1", "", "# a comment", "  # another", "SECOND='2'", ""])
    assert parsed(tmp_path, text) == {"FIRST": "1", "SECOND": "2"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A=1\nNAME=secret # a comment", ".env, line 2: NAME has a # after a blank."),
        ("NAME=#secret", ".env, line 1: NAME has a # after a blank."),
        ("NAME= # only a comment", ".env, line 1: NAME has a # after a blank."),
        ("NAME='secret", ".env, line 1: NAME begins with a quotation mark"),
        ('NAME="secret', ".env, line 1: NAME begins with a quotation mark"),
        ("NAME='secret' and more", ".env, line 1: NAME begins with a quotation mark"),
        ("NAME=${secret}", ".env, line 1: NAME looks like the name of another variable"),
        ("NAME=1\nNAME=secret", ".env, line 2: NAME stands there twice."),
        ("NAME: secret", ".env, line 1: it is neither NAME=value nor a comment."),
        ("MY-NAME=secret", ".env, line 1: it is neither NAME=value nor a comment."),
        ("NAME=secret".encode("utf-16"), ".env is not UTF-8."),
        (b"NAME=secret\xff", ".env is not UTF-8."),
    ],
)
def test_a_line_that_can_be_understood_in_two_ways_is_refused(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        parsed(tmp_path, text)
    assert str(refused.value).startswith(sentence)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_there_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ImproperlyConfigured, match=r"^\.env is there and cannot be read: "):
        parse_file(tmp_path / ".env")


def test_no_file_is_no_variable(tmp_path: Path) -> None:
    assert parse_file(tmp_path / ".env") == {}


def test_a_variable_of_the_process_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_secret_is_shown_masked(text: str, shown: str) -> None:
    assert Reading("NAME", text, "environment", True).shown == shown


def manage(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` of a copy of the console in `folder`, with no variables."""
    if not (folder / "manage.py").exists():
        console.copy(folder)
    return console.run(folder, *command)


# Seen as nothing, or as a blank that is none.
UNSEEN = (
    "\x00\x1b\xa0\xad\u034f\u115f\u200b\u200d\u200e\u2028\u202e\u2060\u2800\u3000\u3164\ufe0f\ufeff\uffa0\U000e0041"
)


@pytest.mark.parametrize("sign", UNSEEN, ids=lambda sign: f"U+{ord(sign):04X}")
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
def test_a_secret_may_hold_what_is_seen(tmp_path: Path, text: str) -> None:
    environment = Environment(tmp_path / ".env")
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with mock.patch.dict(os.environ, {"A_KEY_FILE": "key"}):
        assert environment.read_exactly("A_KEY") == text


CASTS = (
    *(settings.boolean, settings.number(0, 1), settings.whole(0, 1), settings.origins, settings.folder),
    *(settings.rest_host, settings.secure_url, settings.mount_path, settings.database, settings.email),
    *(settings.public_keys, settings.AllowedHosts.parse),
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
def test_a_refused_value_that_is_none_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NAME", text)
    with pytest.raises(ImproperlyConfigured, match=re.escape(text.rpartition("/")[2].partition(":")[0])):
        Environment(tmp_path / ".env").read("NAME", settings.rest_host, "")


def test_a_database_is_where_its_path_says_whatever_the_folders_are_called(tmp_path: Path) -> None:
    folder = tmp_path / "a #1 folder? 100%41+"
    folder.mkdir()
    (folder / ".env").write_text(f"SECRET_KEY={LONG_KEY}\nDATABASE_URL='sqlite:///{folder}/x?y#z/db.sqlite3'\n")
    code = "from django.db import connection; connection.cursor(); print(connection.settings_dict['NAME'])"
    done = manage(folder, "shell", "--no-imports", "-c", code)
    assert done.stdout.strip() == str(folder / "x?y#z" / "db.sqlite3"), done.stderr
    assert (folder / "x?y#z" / "db.sqlite3").exists()


def test_check_config_prints_what_was_understood_and_no_secret(tmp_path: Path) -> None:
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
    done = manage(tmp_path, "check_config", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    found = {each["name"]: (each["value"], each["source"]) for each in document["settings"]}
    assert found["DATABASE_URL"] == ("postgres://console:•••@db.example.com/console", ".env")
    assert found["GOEASY_CONCURRENCY"] == ("32", ".env")
    assert found["FORWARDED_HOPS"] == ("0", "default")
    assert [each["id"] for each in document["messages"]] == [
        *("console.W001", "console.I001", "console.I002", "console.W004", "console.W008"),
    ]
    assert document["messages"][0]["hint"] == "Is GOEASY_CONCURRENCY meant?"
    plain = manage(tmp_path, "check_config")
    assert plain.returncode == 1
    for secret in (LONG_KEY, "0123456789abcdef", "geheim"):
        assert secret not in done.stdout + done.stderr + plain.stdout + plain.stderr


def test_check_config_has_nothing_to_warn_of_in_the_example(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text().replace("\nSECRET_KEY=\n", f"\nSECRET_KEY={LONG_KEY}\n")
    (tmp_path / ".env").write_text(example)
    done = manage(tmp_path, "check_config")
    assert (done.returncode, "Warning" in done.stdout) == (0, False), done.stdout + done.stderr


def test_a_key_in_a_file_that_cannot_be_read_is_not_said_to_be_unset(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"SECRET_KEY={LONG_KEY} # mine\n")
    done = manage(tmp_path, "check")
    assert done.returncode != 0
    assert done.stderr.startswith(".env, line 1: SECRET_KEY has a # after a blank.")
    assert "Traceback" not in done.stderr
