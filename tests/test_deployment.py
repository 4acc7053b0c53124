"""Ways to start and reach the console: each works, or reports in one line what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client

from tests import console


def skip_unless_ci(reason: str) -> None:
    """Skip the test, or fail it in CI, where nothing may be missing."""
    pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the console without a migrated database and static files."""
    return console.copy(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the console that is ready to start."""
    folder = console.copy(tmp_path_factory.mktemp("ready"))
    assert console.manage(folder, "migrate", "--verbosity", "0").returncode == 0
    assert console.manage(folder, "collectstatic", "--no-input").returncode == 0
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["worker"],
        ["export_audit"],
        ["recall", "--group", "g", "--actor", "a", "--reason", "spam", "1594958217087"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_without_a_migrated_database_names_the_remedy(bare: Path, command: list[str]) -> None:
    result = console.manage(bare, *command)
    assert result.returncode != 0
    assert re.fullmatch(
        r"(CommandError: )?The database lacks \d+ migrations \(.*\)\. Run: python manage\.py migrate\n", result.stderr
    ), result.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "The static files are not collected in "),
        (lambda collected: truncate_manifest(collected), "were not collected to the end. Run: "),
        (lambda collected: remove_from_manifest(collected), "are another version's: "),
    ],
    ids=["not collected", "incomplete", "of another version"],
)
def test_the_console_does_not_start_without_its_static_files(
    ready: Path, tmp_path: Path, damage: Any, message: str
) -> None:
    folder = Path(shutil.copytree(ready, tmp_path, dirs_exist_ok=True))
    damage(folder / "staticfiles")
    command = [sys.executable, "-m", "gunicorn", "moderation.wsgi", "--bind", "127.0.0.1:0", "--no-control-socket"]
    result = subprocess.run(
        command, cwd=folder, env=console.variables(), capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode != 0
    assert message in result.stderr
    assert "collectstatic" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_webhook_process_starts_without_static_files(ready: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ready, tmp_path, dirs_exist_ok=True))
    shutil.rmtree(folder / "staticfiles")
    with console.gunicorn(folder, serves="moderation.webhook_wsgi") as address:
        assert console.status(f"{address}/webhooks/goeasy/default/") == 405
        assert console.status(f"{address}/accounts/login/") == 404


def truncate_manifest(collected: Path) -> None:
    manifest = collected / "staticfiles.json"
    manifest.write_text(manifest.read_text()[:100])


def remove_from_manifest(collected: Path) -> None:
    manifest = collected / "staticfiles.json"
    manifest.write_text(manifest.read_text().replace('"css/tables.css"', '"css/others.css"'))


def test_the_console_works_below_a_path(ready: Path) -> None:
    with console.gunicorn(ready, SCRIPT_NAME="/console") as address:
        code, page, reached = console.fetch(f"{address}/console/")
        assert (code, urlsplit(reached).path) == (200, "/console/accounts/login/")
        assets = re.findall(r'(?:src|href)="([^"#]*\.(?:css|js|svg))"', page)
        assert len(assets) > 8
        for asset in assets:
            assert asset.startswith("/console/static/")
            assert console.status(address + asset) == 200, asset
        for links in re.findall(r'(?:href|action)="(/[^"]*)"', page):
            assert links.startswith("/console/")
        # With or without the path, as proxies and probes request them.
        for prefix in ("/console", ""):
            assert console.status(f"{address}{prefix}/healthz") == 200
            assert console.status(f"{address}{prefix}/readyz") == 503
            assert console.status(f"{address}{prefix}/webhooks/goeasy/default/") == 405
            assert console.status(f"{address}{prefix}/accounts/login/") == 200


def test_an_invalid_path_is_refused(bare: Path) -> None:
    result = console.manage(bare, "check", SCRIPT_NAME="console/")
    assert result.stderr.startswith("SCRIPT_NAME cannot be used: it is not a path like /console")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/webhooks/goeasy/default/"])
def test_a_probe_with_any_host_header_is_answered(client: Client, settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path, headers={"host": "10.1.2.3"}).status_code in {200, 503, 405}


def test_an_unknown_host_is_logged_in_one_line(ready: Path) -> None:
    code = "from django.test import Client; print(Client().get('/', headers={'host': '10.1.2.3'}).status_code)"
    result = console.manage(ready, "shell", "--no-imports", "-c", code)
    assert result.stdout == "400\n"
    assert len(result.stderr.splitlines()) == 1
    assert "Invalid HTTP_HOST header: '10.1.2.3'" in result.stderr


READ_ONLY = """
mount --bind "$0" "$0" && mount -o remount,bind,ro / || exit 1
mount -o remount,bind,ro /tmp 2>/dev/null
exec "$@"
"""


def test_the_console_runs_with_a_read_only_file_system(ready: Path) -> None:
    folder, data = ready, ready / "data"
    before = ["unshare", "-m", "sh", "-c", READ_ONLY, str(data)]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        skip_unless_ci("Mount namespaces are not available.")
    # More than SQLite sorts in memory by default.
    sort = textwrap.dedent("""
        from django.db import connection
        query = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
            "SELECT count(*) FROM (SELECT i, hex(randomblob(200)) AS t FROM n ORDER BY t)"
        )
        with connection.cursor() as cursor:
            print(cursor.execute(query).fetchone())
    """)
    command = [*before, sys.executable, "manage.py", "shell", "--no-imports", "-c", sort]
    result = subprocess.run(
        command, cwd=folder, env=console.variables(), capture_output=True, text=True, check=False, timeout=120
    )
    assert result.stdout == "(300000,)\n", result.stderr
    with console.gunicorn(folder, *before) as address:
        assert console.status(f"{address}/accounts/login/") == 200
        assert console.status(f"{address}/readyz") == 503


@pytest.fixture
def pgbouncer(tmp_path: Path, transactional_db: None) -> Iterator[str]:
    """DATABASE_URL of the test database through PgBouncer in transaction mode."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections to share")
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not program:
        skip_unless_ci("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    port = console.free_port()
    server = connection.settings_dict
    (tmp_path / "pgbouncer.ini").write_text(
        textwrap.dedent(f"""
        [databases]
        * = host={server["HOST"]} port={server["PORT"] or 5432} user={server["USER"]}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        # Use another connection for each transaction of a client.
        server_round_robin = 1
        min_pool_size = 4
        """)
    )
    tmp_path.chmod(0o755)
    as_nobody = ["--user", "nobody"] if os.getuid() == 0 else []
    process = subprocess.Popen([str(program), *as_nobody, str(tmp_path / "pgbouncer.ini")], stderr=subprocess.PIPE)
    time.sleep(1)
    assert process.poll() is None, process.stderr and process.stderr.read()
    yield f"postgres://{server['USER']}@127.0.0.1:{port}/{server['NAME']}"
    process.terminate()
    process.wait(30)


def test_pages_and_commands_work_behind_pgbouncer_in_transaction_mode(
    pgbouncer: str, administrator: Any, group: Any
) -> None:
    code = textwrap.dedent(f"""
        from django.test import Client
        from moderation.accounts.models import User
        client = Client(headers={{"host": "localhost"}})
        client.force_login(User.objects.get(pk={administrator.pk}))
        pages = ["/", "/recalls/", "/conversations/", "/conversations/{group.pk}/", "/feed/",
            "/admin/audit/auditentry/", "/admin/applications/application/", "/readyz"]
        for page in pages * 3:
            print(page, client.get(page).status_code)
    """)
    # PgBouncer takes no options for the server.
    environment = {**os.environ, "DATABASE_URL": pgbouncer, "PGOPTIONS": ""}
    result = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        cwd=console.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    responses = [line.split() for line in result.stdout.splitlines()]
    assert len(responses) == 24, result.stderr
    assert {(page, code) for page, code in responses if code not in {"200", "503"}} == set(), result.stderr
    for command in (["reconcile"], ["export_audit"], ["verify_audit"]):
        result = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=console.ROOT, env=environment, capture_output=True, check=False
        )
        assert result.returncode == 0, result.stderr
