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
        ("DATA_DIR", ""),
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


GOOD_KEY = "".join(chr(33 + number) for number in range(2, 60) if chr(33 + number) not in "#$,'")
PUBLIC_KEY = "for-debugging-only-" + "never-outside-debug-" * 3


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SECRET_KEY", "a", "it has 1 characters, 1 of them distinct, and needs at least 50 and 5. Put a long random"),
        ("SECRET_KEY", "k" * 49, "it has 49 characters, 1 of them"),
        ("SECRET_KEY", GOOD_KEY[:49], "it has 49 characters, 49 of them"),
        ("SECRET_KEY", "abcd" * 20, "it has 80 characters, 4 of them"),
        ("SECRET_KEY", PUBLIC_KEY, "it is the public key of DEBUG. Put a long random"),
        ("FIELD_ENCRYPTION_KEY", "short", "it has 5 characters"),
        ("SECRET_KEY_FALLBACKS", f"{GOOD_KEY},former", "Move it to FIELD_ENCRYPTION_KEY_FALLBACKS"),
        ("AUDIT_SIGNING_KEY", "A" * 43 + "=", "take 32 random bytes"),
    ],
)
def test_a_key_that_is_easy_to_guess_stops_the_start(name: str, value: str, said: str) -> None:
    settings = {"DEBUG": "false", "SECRET_KEY": GOOD_KEY, name: value}
    done = check(**settings)
    assert (done.returncode != 0, done.stderr.startswith(f"{name} cannot be used: ")) == (True, True), done.stderr
    assert said in done.stderr
    assert len(value) < 5 or value not in done.stderr
    if "long random" in said:
        assert "python -c 'import secrets; print(secrets.token_urlsafe(50))'" in done.stderr


def test_debugging_takes_any_key() -> None:
    assert check(DEBUG="true", SECRET_KEY="a", FIELD_ENCRYPTION_KEY="b", SECRET_KEY_FALLBACKS="c").returncode == 0


def test_a_former_key_of_any_strength_may_open_what_it_encrypted() -> None:
    assert check(DEBUG="false", SECRET_KEY=GOOD_KEY, FIELD_ENCRYPTION_KEY_FALLBACKS="a,b").returncode == 0


def setting(name: str, **environment: str) -> str:
    """What the console makes of it, or the sentence that stopped the start."""
    show = f"import moderation.settings as s; print(s.{name})"
    run = [sys.executable, "-c", f"import sys\ntry:\n    {show}\nexcept Exception as problem:\n    print(problem)"]
    done = subprocess.run(run, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("content", [f"{GOOD_KEY}\n", f"\ufeff{GOOD_KEY}\r\n", GOOD_KEY])
def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8", newline="")
    file = str(tmp_path / "key")
    assert setting("SECRET_KEY", DEBUG="false", SECRET_KEY="", SECRET_KEY_FILE=file) == GOOD_KEY
    assert setting("GOEASY_SECRET_KEYS", GOEASY_SECRET_KEY="", GOEASY_SECRET_KEY_FILE=file) == str([GOOD_KEY])


def test_a_file_of_a_secret_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for file, said in (("binary", "is not UTF-8 text"), ("gone", "No such file or directory")):
        sentence = setting("SECRET_KEY", SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / file))
        assert sentence.startswith("SECRET_KEY_FILE cannot be used: ") and said in sentence
    both = setting("SECRET_KEY", SECRET_KEY=GOOD_KEY, SECRET_KEY_FILE=str(tmp_path / "gone"))
    assert both == "SECRET_KEY and SECRET_KEY_FILE are both set. Set one of them."


@pytest.mark.parametrize("content", ["", "\n", " \r\n", "\ufeff"])
def test_a_file_of_a_secret_that_is_empty_is_said_to_be(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8")
    done = check(DEBUG="false", SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / "key"))
    assert done.stderr == f"SECRET_KEY_FILE cannot be used: {tmp_path}/key is empty.\n"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GOEASY_APPKEY", "BC-0123\u200b456789abcdef", "it holds a character that is not seen (U+200B)"),
        ("GOEASY_APPKEY", "ВС-0123456789abcdef", "a key has neither spaces nor letters beyond ASCII"),
        ("GOEASY_SECRET_KEY", "0123456789abcdef,fedcba 9876543210", "a key has neither spaces nor letters beyond"),
        ("GOEASY_REST_HOST", "BC-0123456789abcdef", "“•••” is neither a region"),
    ],
)
def test_a_key_that_was_copied_badly_or_elsewhere_stops_the_start_and_is_not_repeated(
    name: str, value: str, sentence: str
) -> None:
    done = check(**{name: value})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"{name} cannot be used: {sentence}")
    assert not re.search("0123|cdef|9876", done.stderr)


def test_everything_beside_a_database_server_is_in_data_dir(tmp_path: Path) -> None:
    strange = tmp_path / "a #strange? 100% folder"
    environment = {"DATA_DIR": str(strange), "DATABASE_URL": ""}
    # The tests' own environment has none: as if there were no such line.
    code = (
        "import os; os.environ.pop('AUDIT_CHECKPOINT_FILE', None)\n"
        "import moderation.settings as s\n"
        "names = s.DATABASES['default']['NAME'], s.AUDIT_KEY_FILE, s.AUDIT_EXPORT_DIR, s.AUDIT_CHECKPOINT_FILE\n"
        "print(*names, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    names = ("console.sqlite3", "audit-signing-key", "exports", "audit-checkpoint")
    assert done.stdout.splitlines() == [str(strange / name) for name in names], done.stderr


def test_the_deployment_check_has_nothing_to_say() -> None:
    secret = "".join(chr(33 + number % 90) for number in range(7, 77))
    done = check("--deploy", "--fail-level", "WARNING", DEBUG="false", HTTPS="true", SECRET_KEY=secret)
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr


def test_every_name_that_settings_read_is_explained() -> None:
    source = (ROOT / "moderation" / "settings.py").read_text()
    example = (ROOT / ".env.example").read_text()
    names = set(re.findall(r'(?:read|read_exactly)\("([A-Z_]+)"', source))
    assert len(names) > 15
    assert names == set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    for name in ("README.md", "README.zh-CN.md"):
        assert names <= set(re.findall(r"`([A-Z_]+)`", (ROOT / name).read_text(encoding="utf-8"))), name
