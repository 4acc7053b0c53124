"""A running console for the browser tests: real gunicorn, real worker, the sandbox, and a real Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from moderation.goeasy.sandbox import Sandbox
from tests.browser.pages import ARRANGE
from tests.console import free_port

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PASSWORD = "correct horse battery staple"
FAILED = pytest.StashKey[bool]()
FAILURES = ROOT / "test-results" / "failures"
SCREENSHOTS = ROOT / "test-results" / "screenshots"
PEOPLE = """
from moderation.accounts.models import User
from moderation.applications.models import Application
people = [("mo", "moderator"), ("lea", "lead"), ("lin", "lead"), ("audrey", "auditor"), ("ada", "admin")]
for name, role in people:
    User.objects.create_user(name, password="{password}", role=role, timezone="Asia/Shanghai")
User.objects.create_user("zhao", password="{password}", role="admin", timezone="Asia/Shanghai", language="zh-hans")
Application.objects.filter(slug="default").update(recaller_id="support", recaller_data={{"name": "客服 Support"}})
"""


# What the browser does with a page is the same on both engines: on PostgreSQL these files run, in which people work
# with the console from end to end. Every route is requested there without a browser (tests/test_access.py).
END_TO_END = ("main_job", "faults", "sweeps", "without_script", "audit_log")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        ends = tuple(f"test_{name}.py" for name in END_TO_END)
        left_out = [item for item in items if item.path.parent == here and not item.path.name.endswith(ends)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@dataclass
class Console:
    """A running console with the sandbox as its GoEasy."""

    url: str
    sandbox: Sandbox
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    # The sessions of those who have signed in: the form's password hash is slow on purpose.
    sessions: dict[str, Any] = field(default_factory=dict)

    def manage(self, *arguments: str) -> str:
        """Run a command of the console and return what it printed; fails when the command does."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, program: str) -> str:
        """Run Python inside the console, models and all."""
        return self.manage("shell", "--verbosity", "0", "--command", program)

    def start(self, *command: str) -> None:
        self.processes.append(subprocess.Popen([sys.executable, *command], cwd=ROOT, env=self.environment))

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def fresh_database(tmp: Path) -> Iterator[str]:
    """A new database's URL, on the engine that the suite runs on; PostgreSQL's is dropped afterwards."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield f"sqlite:///{tmp / 'console.sqlite3'}"
        return
    import psycopg

    name = f"console_browser_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One console for all tests of a test process; each test uses conversations of its own."""
    if not CHROMIUM:
        message = "Chromium is not installed (Debian: apt-get install chromium)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    tmp = tmp_path_factory.mktemp("console")
    port = free_port()
    with Sandbox(data=tmp / "sandbox.sqlite3") as sandbox, fresh_database(tmp) as database:
        environment = {
            **os.environ,
            "DEBUG": "false",
            "HTTPS": "false",
            "SECRET_KEY": "browser-tests-" * 5,
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": database,
            "GOEASY_APPKEY": sandbox.appkey,
            "GOEASY_REST_HOST": sandbox.url,
            "GOEASY_READ_TIMEOUT": "3",
            "MEDIA_ORIGINS": sandbox.url,
            "RECALL_GRACE_SECONDS": "2",
            # Each test decides when history is read.
            "FEED_COMPARE_MINUTES": "0",
            "RECALL_VERIFY_AFTER": "4",
        }
        running = Console(f"http://127.0.0.1:{port}", sandbox, environment)
        try:
            running.manage("migrate", "--verbosity", "0")
            if not (ROOT / "staticfiles" / "staticfiles.json").exists():
                running.manage("collectstatic", "--no-input", "--verbosity", "0")
            running.run(PEOPLE.format(password=PASSWORD))
            running.start("manage.py", "worker")
            running.start(
                *("-m", "gunicorn", "moderation.wsgi", "--bind", f"127.0.0.1:{port}"),
                *("--threads", "4", "--no-control-socket", "--log-level", "warning"),
            )
            deadline = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{running.url}/healthz", timeout=2).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "the console did not start"
                    time.sleep(0.1)
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def world(console: Console) -> dict[str, Any]:
    """The demo's conversations in the archive, and the ids of a recall in each state (`pages.py`)."""
    console.sandbox.seed()
    arranged: dict[str, Any] = json.loads(console.run(ARRANGE))
    return arranged


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for the whole session: while Playwright's event loop runs in this thread, Django refuses to query."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report


def sign_in(page: Page, username: str) -> None:
    """Sign in by the form; ends on the home page."""
    page.goto("/accounts/login/")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(re.compile("^http://[^/]+/$"))


@pytest.fixture
def open_browser(console: Console, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """A function that signs somebody in and returns their page. No page may break the CSP or throw an error.

    A test that fails leaves pictures of its pages in test-results/failures.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    console.sandbox.clear_faults()

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: (
                complaints.append(f"{page.url}: {message.text}") if "Content Security Policy" in message.text else None
            ),
        )

    def open_page(username: str | None = "mo", *, width: int = 1440, height: int = 900, **options: Any) -> Page:
        context = chromium.new_context(
            base_url=console.url,
            viewport={"width": width, "height": height},
            storage_state=console.sessions.get(username or ""),
            **{"locale": "en-GB", "timezone_id": "Asia/Shanghai", **options},
        )
        contexts.append(context)
        context.on("page", listen)
        page = context.new_page()
        page.set_default_timeout(15_000)
        if username and username not in console.sessions:
            sign_in(page, username)
            console.sessions[username] = context.storage_state()
        return page

    yield open_page
    if FAILED in request.node.stash:
        FAILURES.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "-", request.node.name)
        for number, page in enumerate(page for context in contexts for page in context.pages):
            page.screenshot(path=FAILURES / f"{name}-{number}.png")
    for context in contexts:
        context.close()
    assert complaints == []
