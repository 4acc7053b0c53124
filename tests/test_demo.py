"""Commands of the demo use its database, whatever `.env` says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import console

APPKEY = "from django.conf import settings; print(settings.GOEASY_APPKEY)"
START = """
from moderation import demo
demo.DATA.mkdir(parents=True)
demo.keep_settings(demo.environment(8000, 8001))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the console with its own `.env`."""
    folder = console.copy(tmp_path_factory.mktemp("clone"))
    (folder / ".env").write_text(f"SECRET_KEY={console.LONG_KEY}\nGOEASY_APPKEY=BC-of-production\n")
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_before_the_first_demo_explains_how_to_start_one(clone: Path) -> None:
    done = python(clone, "-m", "moderation.demo", "manage", "check")
    assert (done.returncode, done.stderr) == (1, "The demo has no database yet. Start it once: make demo\n")


def test_a_command_of_the_demo_has_its_settings_and_not_those_of_env(clone: Path) -> None:
    assert python(clone, "-c", START).returncode == 0
    kept = clone / "data" / "demo" / "settings.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    done = python(clone, "-m", "moderation.demo", "manage", "check_config", "--json")
    settings = {each["name"]: each["value"] for each in json.loads(done.stdout)["settings"]}
    assert settings["DATA_DIR"] == str(clone / "data" / "demo")
    assert settings["GOEASY_REST_HOST"] == "http://127.0.0.1:8001"
    done = python(clone, "-m", "moderation.demo", "manage", "shell", "-v", "0", "-c", APPKEY)
    assert done.stdout == "BC-demo-0123456789abcdef\n", done.stderr


def test_the_exit_status_is_the_commands_own(clone: Path) -> None:
    assert python(clone, "-m", "moderation.demo", "manage", "no_such_command").returncode == 1
