"""A copy of the console in a separate folder, for tests of its installation and start."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONG_KEY = "an-example-key-of-more-than-fifty-different-characters-0123456789"


def copy(folder: Path) -> Path:
    """Copy the program to `folder`, without data, collected static files or configuration."""
    for name in ("moderation", "recall", "templates", "static", "locale"):
        # Compiled files stay valid, because the modification times are copied.
        shutil.copytree(ROOT / name, folder / name)
    for name in ("manage.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def variables(**environment: str) -> dict[str, str]:
    """Environment of a process: a console without DEBUG over HTTP, with additional variables."""
    return {"PATH": os.environ["PATH"], "SECRET_KEY": LONG_KEY, "HTTPS": "false", **environment}


def manage(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` of the copy in `folder`."""
    return run(folder, *command, **variables(**environment))


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` of the copy in `folder` with these variables only."""
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gunicorn(folder: Path, *before: str, serves: str = "moderation.wsgi", **environment: str) -> Iterator[str]:
    """Run gunicorn on the copy in `folder` and yield its URL; `before` prefixes its command line."""
    port = free_port()
    command = [*before, sys.executable, "-m", "gunicorn", serves, "--bind", f"127.0.0.1:{port}"]
    command += ["--threads", "2", "--no-control-socket"]
    process = subprocess.Popen(command, cwd=folder, env=variables(**environment))
    try:
        wait_for_health(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for_health(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the gunicorn `process` answers at `address`."""
    deadline = time.monotonic() + 60
    while status(f"{address}/healthz") != 200:
        assert process.poll() is None and time.monotonic() < deadline, "gunicorn did not start"
        time.sleep(0.1)


def fetch(address: str, **headers: str) -> tuple[int, str, str]:
    """Status, body and final URL of a GET; status 0 without an answer."""
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.url
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode(), address
    except OSError:
        return 0, "", address


def status(address: str, **headers: str) -> int:
    return fetch(address, **headers)[0]
