"""How the console is started and reached in the field: each way works, or says in one sentence what to do."""

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


def missing(reason: str) -> None:
    """Skip the test, or fail it where everything has to be there."""
    pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the console without a migrated database or static files."""
    return console.copy(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the console that can be started."""
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
def test_a_command_on_an_unmigrated_database_says_what_to_do(bare: Path, command: list[str]) -> None:
    done = console.manage(bare, *command)
    assert done.returncode != 0
    assert re.fullmatch(
        r"(CommandError: )?The database lacks \d+ migrations \(.*\)\. Run: python manage\.py migrate\n", done.stderr
    ), done.stderr


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (shutil.rmtree, "The static files are not collected in "),
        (lambda collected: cut(collected), "were not collected to the end. Run: "),
        (lambda collected: forget(collected), "are another version's: "),
    ],
    ids=["forgotten", "broken off", "of another version"],
)
def test_without_its_static_files_it_does_not_start_and_says_why(
    ready: Path, tmp_path: Path, spoil: Any, sentence: str
) -> None:
    folder = Path(shutil.copytree(ready, tmp_path, dirs_exist_ok=True))
    spoil(folder / "staticfiles")
    command = [sys.executable, "-m", "gunicorn", "moderation.wsgi", "--bind", "127.0.0.1:0", "--no-control-socket"]
    done = subprocess.run(
        command, cwd=folder, env=console.variables(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "collectstatic" in done.stderr
    assert "Traceback" not in done.stderr


def cut(collected: Path) -> None:
    manifest = collected / "staticfiles.json"
    manifest.write_text(manifest.read_text()[:100])


def forget(collected: Path) -> None:
    manifest = collected / "staticfiles.json"
    manifest.write_text(manifest.read_text().replace('"css/tables.css"', '"css/others.css"'))


def test_it_works_below_a_path_of_a_shared_host(ready: Path) -> None:
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
        # With the path before them or without, as a probe or a proxy that takes it away sends them.
        for prefix in ("/console", ""):
            assert console.status(f"{address}{prefix}/healthz") == 200
            assert console.status(f"{address}{prefix}/readyz") == 503
            assert console.status(f"{address}{prefix}/webhooks/goeasy/default/") == 405
            assert console.status(f"{address}{prefix}/accounts/login/") == 200


def test_a_path_that_is_none_is_refused(bare: Path) -> None:
    done = console.manage(bare, "check", SCRIPT_NAME="console/")
    assert done.stderr.startswith("SCRIPT_NAME cannot be used: it is not a path like /console")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/webhooks/goeasy/default/"])
def test_a_probe_by_the_processs_own_address_is_answered(client: Client, settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path, headers={"host": "10.1.2.3"}).status_code in {200, 503, 405}


def test_another_host_is_refused_in_one_line_of_the_log(ready: Path) -> None:
    code = "from django.test import Client; print(Client().get('/', headers={'host': '10.1.2.3'}).status_code)"
    done = console.manage(ready, "shell", "--no-imports", "-c", code)
    assert done.stdout == "400\n"
    assert len(done.stderr.splitlines()) == 1
    assert "Invalid HTTP_HOST header: '10.1.2.3'" in done.stderr


READ_ONLY = """
mount --bind "$0" "$0" && mount -o remount,bind,ro / || exit 1
mount -o remount,bind,ro /tmp 2>/dev/null
exec "$@"
"""


def test_it_runs_where_nothing_but_its_data_can_be_written(ready: Path) -> None:
    folder, data = ready, ready / "data"
    before = ["unshare", "-m", "sh", "-c", READ_ONLY, str(data)]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        missing("A mount namespace cannot be made here.")
    # More than SQLite sorts in memory by itself.
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
    done = subprocess.run(
        command, cwd=folder, env=console.variables(), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "(300000,)\n", done.stderr
    with console.gunicorn(folder, *before) as address:
        assert console.status(f"{address}/accounts/login/") == 200
        assert console.status(f"{address}/readyz") == 503


@pytest.fixture
def pgbouncer(tmp_path: Path, transactional_db: None) -> Iterator[str]:
    """DATABASE_URL of the test's database through a PgBouncer in transaction mode."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections to share")
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not program:
        missing("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
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
        # No two statements of a client in the same connection, unless they are of one transaction.
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
            "/admin/audit/auditentry/", "/admin/archive/application/", "/readyz"]
        for page in pages * 3:
            print(page, client.get(page).status_code)
    """)
    # PgBouncer takes no options for the server.
    environment = {**os.environ, "DATABASE_URL": pgbouncer, "PGOPTIONS": ""}
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        cwd=console.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    answered = [line.split() for line in done.stdout.splitlines()]
    assert len(answered) == 24, done.stderr
    assert {(page, code) for page, code in answered if code not in {"200", "503"}} == set(), done.stderr
    for command in (["reconcile"], ["export_audit"], ["verify_audit"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=console.ROOT, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
