"""A copy of the console in a folder of its own, for tests of how it is installed and started."""

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
    """Put the program into `folder`, without data, static files or configuration."""
    for name in ("moderation", "recall", "templates", "static", "locale"):
        # With what Python compiled already: times of files are copied, too.
        shutil.copytree(ROOT / name, folder / name)
    for name in ("manage.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def variables(**environment: str) -> dict[str, str]:
    """A process's environment: these variables, and those of a console outside DEBUG that is reached over HTTP."""
    return {"PATH": os.environ["PATH"], "SECRET_KEY": LONG_KEY, "HTTPS": "false", **environment}


def manage(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` of the copy in `folder`."""
    return run(folder, *command, **variables(**environment))


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` of the copy in `folder`, with these variables alone."""
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
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gunicorn(folder: Path, *before: str, **environment: str) -> Iterator[str]:
    """The address of a gunicorn that serves the copy in `folder`; `before` stands before its command line."""
    port = free_port()
    command = [*before, sys.executable, "-m", "gunicorn", "moderation.wsgi", "--bind", f"127.0.0.1:{port}"]
    command += ["--threads", "2", "--no-control-socket"]
    process = subprocess.Popen(command, cwd=folder, env=variables(**environment))
    try:
        deadline = time.monotonic() + 60
        while status(f"http://127.0.0.1:{port}/healthz") != 200:
            assert process.poll() is None and time.monotonic() < deadline, "gunicorn did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def fetch(address: str, **headers: str) -> tuple[int, str, str]:
    """Status, body and final address of a GET; 0 when nobody answers."""
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
