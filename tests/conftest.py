"""Shared fixtures: users, an application, conversations, and a sandbox."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import settings

from moderation.audit.ledger import triggers

settings.register_profile("quick", max_examples=50, deadline=None)
# 50,000 cases in all: run once with HYPOTHESIS_PROFILE=thorough.
settings.register_profile("thorough", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

PASSWORD = "correct horse battery staple"


def pytest_configure() -> None:
    # The real hasher is slow on purpose.
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Otherwise every new `Client` reads all static files, which takes longer than the page under test.
    django_settings.WHITENOISE_AUTOREFRESH = True


DATABASE_FIXTURES = {"db", "transactional_db", "live_server"}
# What starts processes and is not about their database.
WITHOUT_DATABASE = {"test_package.py", "test_slow_clients.py"}


def uses_a_database(item: pytest.Item) -> bool:
    """Whether a test may behave differently on another engine: it uses a database, or starts processes that do."""
    if item.path.name in WITHOUT_DATABASE:
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(item.get_closest_marker("django_db") or item.get_closest_marker("slow") or fixtures & DATABASE_FIXTURES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that start or kill processes as slow, and run them first, so that nothing waits for them.

    What uses no database runs on SQLite only.
    """
    slow = (
        "tests/browser/",
        "tests/faults/",
        "tests/operations/",
        "tests/test_deployment",
        "tests/test_package",
        "_faults.py",
        "test_slow",
    )
    for item in items:
        if any(part in item.nodeid for part in slow):
            item.add_marker(pytest.mark.slow)
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        config.hook.pytest_deselected(items=[item for item in items if not uses_a_database(item)])
        items[:] = [item for item in items if uses_a_database(item)]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite on disk, as in production: the sender's threads share it as they do there."""
    database = django_settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database.setdefault("TEST", {})["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
        connection.settings_dict.setdefault("TEST", {})["NAME"] = database["TEST"]["NAME"]


# Their rows come from migrations and are the same for every test.
KEPT_TABLES = {"django_content_type", "auth_permission"}


def delete_all_rows(_test: TransactionTestCase) -> None:
    """Empty the database after a test with real transactions, the audit log included, whose triggers would refuse.

    Django's flush truncates every table, full or not, and makes all permissions anew: PostgreSQL takes seconds for it.
    """
    from moderation.search.index import MESSAGES, SENDERS

    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    used = " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in set(tables) - KEPT_TABLES
    )
    with connection.schema_editor() as editor, connection.cursor() as cursor:
        triggers.remove(None, editor)
        cursor.execute(used)
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {table}")
        if connection.vendor == "postgresql":
            # Foreign keys are checked at the end, and until then no trigger can be made.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        else:
            # SQLite's indexes of grams are tables without rows of their own.
            for index in (MESSAGES, SENDERS):
                cursor.execute(f"INSERT INTO {index}({index}) VALUES('delete-all')")
        triggers.install(None, editor)


@pytest.fixture(scope="session", autouse=True)
def delete_rows_after_transactional_tests() -> Iterator[None]:
    teardown = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = delete_all_rows  # type: ignore[method-assign]
    yield
    TransactionTestCase._fixture_teardown = teardown  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def close_connection_pool(django_db_setup: None) -> Iterator[None]:
    """PostgreSQL cannot drop a database with open connections."""
    yield
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def reset_process_state() -> None:
    from moderation.archive import rows
    from moderation.log_limits import LimitRepeats

    rows.clear_caches()
    for limit in (each for handler in logging.getLogger().handlers for each in handler.filters):
        if isinstance(limit, LimitRepeats):
            limit.reset()


@pytest.fixture(autouse=True)
def skip_audit_of_forced_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    """`force_login` would otherwise add the first entry to every test's audit log."""
    from django.test import Client

    from moderation.accounts import signing_in

    force_login = Client.force_login

    def unrecorded(self: Client, user: Any, backend: str | None = None) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(signing_in, "record", lambda _event: None)
            force_login(self, user, backend)

    monkeypatch.setattr(Client, "force_login", unrecorded)


@pytest.fixture
def make_user(db: None) -> Callable[..., Any]:
    """A function that makes a user with a role."""
    from django.contrib.auth.hashers import make_password

    from moderation.accounts.models import User

    def make(username: str, role: str, **fields: Any) -> User:
        # Bypass `save()`, which would add the first entry to every test's audit log.
        user = User(username=username, password=make_password(PASSWORD), role=role, **fields)
        user.is_staff = role != "moderator"
        return User.objects.bulk_create([user])[0]

    return make


@pytest.fixture
def moderator(make_user: Callable[..., Any]) -> Any:
    return make_user("mo", "moderator")


@pytest.fixture
def lead(make_user: Callable[..., Any]) -> Any:
    return make_user("lea", "lead")


@pytest.fixture
def auditor(make_user: Callable[..., Any]) -> Any:
    return make_user("audrey", "auditor")


@pytest.fixture
def administrator(make_user: Callable[..., Any]) -> Any:
    return make_user("ada", "admin")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Any]:
    """An empty sandbox."""
    from moderation.goeasy.sandbox import Sandbox

    with Sandbox(data=tmp_path / "sandbox.sqlite3") as running:
        yield running


@pytest.fixture
def application(db: None, settings: Any) -> Any:
    """The application `default`, pointing at a port where nothing listens."""
    from moderation.applications.models import Application

    settings.GOEASY_APPKEY = "BC-0123456789abcdef"
    settings.GOEASY_REST_HOST = "http://127.0.0.1:9"
    settings.GOEASY_CONNECT_TIMEOUT = 2.0
    settings.GOEASY_READ_TIMEOUT = 2.0
    existing = Application.objects.filter(slug="default").first()
    return existing or Application.objects.bulk_create([Application(slug="default", name="GoEasy")])[0]


@pytest.fixture
def connected(application: Any, sandbox: Any, settings: Any) -> Any:
    """The application `default`, connected to the sandbox."""
    settings.GOEASY_APPKEY = sandbox.appkey
    settings.GOEASY_REST_HOST = sandbox.url
    return application


@pytest.fixture
def private(application: Any) -> Any:
    """A private conversation of two users."""
    from moderation.archive.models import Conversation
    from moderation.goeasy.client import Private

    return Conversation.objects.open(application, Private("user-b", "user-a"))


@pytest.fixture
def group(application: Any) -> Any:
    """A group's conversation."""
    from moderation.archive.models import Conversation
    from moderation.goeasy.client import Group

    return Conversation.objects.open(application, Group("group-1"))


@pytest.fixture
def reason(db: None) -> Any:
    """A recall reason."""
    from recall.models import RecallReason

    existing = RecallReason.objects.filter(code="spam").first()
    new = RecallReason(code="spam", label_en="Spam", label_zh="垃圾信息")
    return existing or RecallReason.objects.bulk_create([new])[0]


@pytest.fixture
def make_message(db: None) -> Callable[..., Any]:
    """A function that stores a message through the archive's own code."""
    from moderation.archive.ingest import ingest

    def make(conversation: Any, timestamp: int, **fields: Any) -> Any:
        import json

        from moderation.archive.models import Message

        data = {
            "type": "text",
            "messageId": uuid.uuid4().hex,
            "timestamp": timestamp,
            "senderId": "user-a",
            "payload": {"text": f"message at {timestamp}"},
            **fields,
        }
        ingest(conversation, [json.dumps(data, ensure_ascii=False)])
        return Message.objects.get(conversation=conversation, message_id=data["messageId"])

    return make
