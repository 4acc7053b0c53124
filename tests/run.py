"""Run the suite on one engine: `python tests/run.py sqlite|postgresql [pytest's arguments]`."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECRETS = (
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "FIELD_ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEY_FALLBACKS", "DATABASE_URL"),
    *("GOEASY_APPKEY", "GOEASY_SECRET_KEY", "AUDIT_SIGNING_KEY", "AUDIT_CHECKPOINT_URL", "EMAIL_URL"),
)
POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres")


def postgresql_answers() -> bool:
    """Whether the server of TEST_POSTGRES_URL accepts connections."""
    import psycopg

    try:
        psycopg.connect(POSTGRES, connect_timeout=5).close()
    except psycopg.OperationalError as problem:
        print(f"PostgreSQL at TEST_POSTGRES_URL does not answer: {problem}", file=sys.stderr)
        return False
    return True


def main(engine: str, *arguments: str) -> int:
    """Run pytest. Returns its exit status; 0 without PostgreSQL, unless CI=true."""
    if engine == "postgresql" and not postgresql_answers():
        if os.environ.get("CI") == "true":
            print("With CI=true the suite has to pass on PostgreSQL too.", file=sys.stderr)
            return 1
        print("SKIPPED: the suite on PostgreSQL. Set TEST_POSTGRES_URL to run it.")
        return 0
    url = POSTGRES if engine == "postgresql" else "sqlite:///data/tests.sqlite3"
    # Settings of the developer's own .env must not reach the tests.
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DEBUG": "true",
        "SECRET_KEY": "tests-only-" * 6,
        **dict.fromkeys((f"{name}_FILE" for name in SECRETS), ""),
        **dict.fromkeys(("SECRET_KEY_FALLBACKS", "FIELD_ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEY_FALLBACKS"), ""),
        # The tests' databases need not survive a power cut.
        "PGOPTIONS": "-c synchronous_commit=off",
        "DATA_DIR": "data",
        **dict.fromkeys(("GOEASY_APPKEY", "GOEASY_SECRET_KEY", "MEDIA_ORIGINS"), ""),
        **dict.fromkeys(("AUDIT_CHECKPOINT_FILE", "AUDIT_CHECKPOINT_URL", "AUDIT_CHECKPOINT_STDOUT"), ""),
        "AUDIT_FORMER_PUBLIC_KEYS": "",
        # A key for tests only.
        "AUDIT_SIGNING_KEY": base64.b64encode(bytes(range(32))).decode(),
        "GOEASY_REST_HOST": "hangzhou",
        # The tests' own servers.
        "GOEASY_ALLOWED_HOSTS": "*.goeasy.io,127.0.0.1,::1,localhost",
    }
    manage = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"]
    # As in production: the browser tests use hashed file names.
    subprocess.run(manage, cwd=ROOT, env={**environment, "DEBUG": "false"}, check=True)
    print(f"— the suite on {engine} —", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
