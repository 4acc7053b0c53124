"""The package: its metadata, and a wheel that is installed elsewhere and serves the console."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import yaml

from moderation import __version__
from tests import console

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class Installed:
    """A console installed from a wheel, and the empty folder in which it runs."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "environment" / "bin"
        self.packages = next((folder / "environment").glob("lib/python3*/site-packages"))
        self.folder = folder / "console"
        self.folder.mkdir()
        (self.folder / ".env").write_text(f"SECRET_KEY={console.LONG_KEY}\nHTTPS=false\n")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of its environment in its folder, with the settings of its `.env` only."""
        program, *arguments = command
        return subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @contextlib.contextmanager
    def serve(self, module: str) -> Iterator[str]:
        """Run gunicorn with the configuration in `module` and yield its URL."""
        port = console.free_port()
        python, bind = str(self.programs / "python"), f"127.0.0.1:{port}"
        command = [python, "-m", "gunicorn", "--config", f"python:{module}", "--bind", bind, "--no-control-socket"]
        command += ["moderation.wsgi"] if module.endswith("pages") else []
        process = subprocess.Popen(command, cwd=self.folder, env={"PATH": os.environ["PATH"]})
        try:
            console.wait_for_health(f"http://{bind}", process)
            yield f"http://{bind}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel of this working tree in an environment that shares the tests' dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"moderation_console-{__version__}-py3-none-any.whl"
    venv.create(folder / "environment")
    install = ["--python", str(folder / "environment" / "bin" / "python"), "install", "--no-deps", "--no-index"]
    done = subprocess.run([*pip[:3], *install, *pip[3:], str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    installation = Installed(folder)
    (installation.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return installation


def test_the_package_depends_on_what_requirements_in_names() -> None:
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert PROJECT["dependencies"] == [line for line in lines if line and not line.startswith("#")]


def test_every_supported_python_is_named_wherever_one_is() -> None:
    named = {entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if ":: Python ::" in entry}
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    assert named == {"3.11", "3.12", "3.13"} == set(re.findall(r"\b3\.\d\d\b", workflow))


def test_the_workflow_runs_targets_that_the_makefile_has() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    called = {step.split()[1] for step in steps if step.startswith("make ")}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"lint", "test", "test-pythons"} <= called <= targets


def test_the_licence_is_named_and_there() -> None:
    assert PROJECT["license"] == "BSD-3-Clause"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("BSD 3-Clause License\n\nCopyright (c) 2026, the Moderation Console contributors\n")


@pytest.mark.parametrize("argument", ["--version", "version"])
def test_the_version_is_the_consoles_and_not_djangos(argument: str) -> None:
    done = subprocess.run([sys.executable, "manage.py", argument], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"moderation-console {__version__}\n"


def test_the_wheel_has_the_version_of_the_console(installed: Installed) -> None:
    assert installed.run("moderation-console", "--version").stdout == f"moderation-console {__version__}\n"
    metadata = (installed.packages / f"moderation_console-{__version__}.dist-info" / "METADATA").read_text()
    assert "\nLicense-Expression: BSD-3-Clause\n" in metadata and "\nLicense-File: LICENSE\n" in metadata


def test_the_wheel_holds_no_tests_and_nothing_that_needs_a_clone(installed: Installed) -> None:
    names = {path.name for path in installed.packages.iterdir()}
    assert {"moderation", "recall"} <= names
    assert not names & {"tests", "benchmarks", "docs", "templates", "static", "locale"}
    assert not (installed.packages / "moderation" / "demo.py").exists()


def test_an_installed_console_without_a_key_says_so_and_writes_nothing(installed: Installed, tmp_path: Path) -> None:
    program = str(installed.programs / "moderation-console")
    done = subprocess.run([program, "migrate"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and done.stderr.startswith("SECRET_KEY is not set. ")
    assert list(tmp_path.iterdir()) == []


def test_an_installed_console_is_set_up_checked_and_served(installed: Installed) -> None:
    for command in (["migrate", "--verbosity", "0"], ["check"], ["collectstatic", "--no-input"]):
        done = installed.run("moderation-console", *command)
        assert done.returncode == 0, done.stderr
    assert (installed.folder / "data" / "console.sqlite3").exists()
    assert (installed.folder / "staticfiles" / "staticfiles.json").exists()
    assert not (installed.packages / "data").exists() and not (installed.packages / "moderation" / "data").exists()
    with installed.serve("moderation.gunicorn_pages") as address:
        status, page, _url = console.fetch(f"{address}/accounts/login/", **{"Accept-Language": "zh-Hans"})
        assert (status, 'lang="zh-hans"' in page, "登录" in page, __version__ in page) == (200, True, True, True)
        styles = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)
        assert styles
        for style in styles:
            status, sheet, _url = console.fetch(urljoin(address, style))
            assert status == 200 and "{" in sheet, style
        assert f'"version": "{__version__}"' in console.fetch(f"{address}/healthz")[1]
    with installed.serve("moderation.gunicorn_webhook") as address:
        assert console.status(f"{address}/accounts/login/") == 404
        assert console.status(f"{address}/healthz") == 200
