"""Settings: an invalid value prevents the start with a message that names the variable."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check` with additional variables."""
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
        ("DATABASE_URL", "not-a-url"),
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
def test_an_invalid_value_prevents_the_start(name: str, value: str) -> None:
    result = check(**{name: value})
    assert result.returncode != 0
    assert result.stderr.startswith(f"{name} cannot be used: ")
    assert "Traceback" not in result.stderr
    assert "heim" not in result.stderr


def test_production_requires_a_secret_key() -> None:
    result = check(DEBUG="false", SECRET_KEY="")
    assert result.returncode != 0
    assert result.stderr.startswith("SECRET_KEY is not set.")


GOOD_KEY = "".join(chr(33 + number) for number in range(2, 60) if chr(33 + number) not in "#$,'")
PUBLIC_KEY = "for-debugging-only-" + "never-outside-debug-" * 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
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
def test_a_weak_key_prevents_the_start(name: str, value: str, message: str) -> None:
    settings = {"DEBUG": "false", "SECRET_KEY": GOOD_KEY, name: value}
    result = check(**settings)
    assert (result.returncode != 0, result.stderr.startswith(f"{name} cannot be used: ")) == (True, True), result.stderr
    assert message in result.stderr
    assert len(value) < 5 or value not in result.stderr
    if "long random" in message:
        assert "python -c 'import secrets; print(secrets.token_urlsafe(50))'" in result.stderr


def test_debug_accepts_any_key() -> None:
    assert check(DEBUG="true", SECRET_KEY="a", FIELD_ENCRYPTION_KEY="b", SECRET_KEY_FALLBACKS="c").returncode == 0


def test_a_weak_former_key_can_still_decrypt() -> None:
    assert check(DEBUG="false", SECRET_KEY=GOOD_KEY, FIELD_ENCRYPTION_KEY_FALLBACKS="a,b").returncode == 0


def setting(name: str, **environment: str) -> str:
    """Value of a setting, or the message that prevented the start."""
    show = f"import moderation.settings as s; print(s.{name})"
    run = [sys.executable, "-c", f"import sys\ntry:\n    {show}\nexcept Exception as problem:\n    print(problem)"]
    result = subprocess.run(
        run, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.mark.parametrize("content", [f"{GOOD_KEY}\n", f"\ufeff{GOOD_KEY}\r\n", GOOD_KEY])
def test_a_secret_can_be_read_from_a_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8", newline="")
    file = str(tmp_path / "key")
    assert setting("SECRET_KEY", DEBUG="false", SECRET_KEY="", SECRET_KEY_FILE=file) == GOOD_KEY
    assert setting("GOEASY_SECRET_KEYS", GOEASY_SECRET_KEY="", GOEASY_SECRET_KEY_FILE=file) == str([GOOD_KEY])


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for file, message in (("binary", "is not UTF-8 text"), ("gone", "No such file or directory")):
        error = setting("SECRET_KEY", SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / file))
        assert error.startswith("SECRET_KEY_FILE cannot be used: ") and message in error
    both = setting("SECRET_KEY", SECRET_KEY=GOOD_KEY, SECRET_KEY_FILE=str(tmp_path / "gone"))
    assert both == "SECRET_KEY and SECRET_KEY_FILE are both set. Set only one of them."


@pytest.mark.parametrize("content", ["", "\n", " \r\n", "\ufeff"])
def test_an_empty_secret_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8")
    result = check(DEBUG="false", SECRET_KEY="", SECRET_KEY_FILE=str(tmp_path / "key"))
    assert result.stderr == f"SECRET_KEY_FILE cannot be used: {tmp_path}/key is empty.\n"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GOEASY_APPKEY", "BC-0123\u200b456789abcdef", "it contains an invisible character (U+200B)"),
        ("GOEASY_APPKEY", "ВС-0123456789abcdef", "a key has neither spaces nor letters beyond ASCII"),
        ("GOEASY_SECRET_KEY", "0123456789abcdef,fedcba 9876543210", "a key has neither spaces nor letters beyond"),
        ("GOEASY_REST_HOST", "BC-0123456789abcdef", "“•••” is not a region"),
    ],
)
def test_a_miscopied_key_prevents_the_start_and_is_not_repeated(name: str, value: str, message: str) -> None:
    result = check(**{name: value})
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"{name} cannot be used: {message}")
    assert not re.search("0123|cdef|9876", result.stderr)


def test_all_files_are_in_data_dir(tmp_path: Path) -> None:
    unusual_folder = tmp_path / "a #strange? 100% folder"
    environment = {"DATA_DIR": str(unusual_folder), "DATABASE_URL": ""}
    # Remove the variable, so that the default applies.
    code = (
        "import os; os.environ.pop('AUDIT_CHECKPOINT_FILE', None)\n"
        "import moderation.settings as s\n"
        "names = s.DATABASES['default']['NAME'], s.AUDIT_KEY_FILE, s.AUDIT_EXPORT_DIR, s.AUDIT_CHECKPOINT_FILE\n"
        "print(*names, sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    names = ("console.sqlite3", "audit-signing-key", "exports", "audit-checkpoint")
    assert result.stdout.splitlines() == [str(unusual_folder / name) for name in names], result.stderr


def test_the_deployment_check_reports_no_issue() -> None:
    secret = "".join(chr(33 + number % 90) for number in range(7, 77))
    result = check("--deploy", "--fail-level", "WARNING", DEBUG="false", HTTPS="true", SECRET_KEY=secret)
    assert (result.returncode, "no issues" in result.stdout) == (0, True), result.stderr


def read_by_settings() -> dict[str, tuple[str, bool]]:
    """Names of all settings, each with its default in the source ("" if there is none) and whether it is a secret."""
    source = (ROOT / "moderation" / "settings.py").read_text(encoding="utf-8")
    settings = {}
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) not in {"read", "environment.read_exactly"}:
            continue
        name, *rest = call.args
        default = rest[1] if len(rest) > 1 else ast.Constant("")
        is_secret = ast.unparse(call.func) != "read" or any(word.arg == "secret" for word in call.keywords)
        assert isinstance(name, ast.Constant)
        settings[name.value] = (default.value if isinstance(default, ast.Constant) else "…", is_secret)
    return settings


def documented(document: str) -> dict[str, tuple[str, bool]]:
    """The same from a document's tables; a default that is described in words is "…"."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)`(（密钥）| \(secret\))? \| ([^|]+) \|", text, re.MULTILINE)
    assert len(rows) == len({name for name, _secret, _default in rows}), "a setting stands there twice"
    return {name: (as_default(text), bool(secret)) for name, secret, text in rows}


def as_default(cell: str) -> str:
    """A cell of the column of defaults: `value`, "empty", or words that describe it."""
    if cell in {"empty", "空"}:
        return ""
    match = re.fullmatch(r"`([^`]*)`", cell)
    return match[1] if match else "…"


@pytest.mark.parametrize("document", ["configuration.md", "zh-CN/configuration.md"])
def test_every_setting_is_explained_with_its_default(document: str) -> None:
    settings = read_by_settings()
    assert len(settings) > 30
    assert documented(document) == settings


def test_the_example_file_has_every_setting_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE)) == set(read_by_settings())


def test_the_interface_names_every_setting() -> None:
    interface = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
    assert set(read_by_settings()) - set(re.findall(r"`([A-Z_]+)`", interface)) == set()


def test_every_setting_is_read_through_the_environments_reader() -> None:
    source = (ROOT / "moderation" / "settings.py").read_text(encoding="utf-8")
    assert not re.search(r"os\.(environ|getenv)", source), "read it with read(), so that it is checked and documented"
