"""The audit log's list in Django admin with many rows compared with 10,000: each filter, first and deepest page.

`bench_audit_list.py [rows] [requests]`, 10,000,000 rows and 20 requests unless given. Run it with DATABASE_URL of
either engine (default: a new SQLite file, 6 GB); of PostgreSQL an empty database, beside which it makes one called
…_small. A database that already has this many rows is used as it is. The two sizes are measured in turn, each in a
process of its own. For comparison, the same run measures Django's own list of the same rows, with list_filter.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

from _setup import ROOT, verdict

SMALL, BOUND = 10_000, 1.5
# A COUNT over a slice is bounded, and is one over a subquery with a LIMIT.
FORBIDDEN = re.compile(r"DISTINCT|OFFSET|COUNT\((?!.*\bLIMIT \d+\) )", re.I)
STOCK_FILTERS = ("actor", "action", "app", "kind", "response_code", "at")


def child(rows: int) -> None:
    """Print the URLs by name, then answer each URL read from stdin with {"ms", "sql", "status"}."""
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.conf import settings
    from django.contrib import admin
    from django.core.management import call_command
    from django.db import connection, reset_queries
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.urls import include, path

    from moderation import urls
    from moderation.accounts.models import User
    from moderation.audit.models import AuditEntry

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    if not AuditEntry.objects.exists():
        import _audit_rows

        started = time.perf_counter()
        _audit_rows.fill(rows, connection)
        print(f"  {rows:,} entries written in {time.perf_counter() - started:.0f} s", file=sys.stderr)

    class StockAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
        """Django's own change list with filters."""

        list_display = ("at", "actor", "action", "app", "kind", "http_status", "response_code", "latency_ms", "recall")
        list_filter = STOCK_FILTERS
        # Not the one that is found under the name of the model.
        change_list_template = "admin/change_list.html"

    site = admin.AdminSite("stock")
    site.register(AuditEntry, StockAdmin)
    urls.urlpatterns.insert(0, path("stock/", include((site.urls[0], "admin"), namespace="stock")))
    settings.ALLOWED_HOSTS = ["testserver"]
    user = User.objects.filter(username="bench").first() or User.objects.create_superuser("bench", role="admin")
    client = Client()
    client.force_login(user)
    print(json.dumps(addresses(AuditEntry)), flush=True)
    for line in sys.stdin:
        # Django keeps the last 9,000.
        reset_queries()
        with CaptureQueriesContext(connection) as queries:
            started = time.perf_counter()
            answer = client.get(line.strip(), secure=True)
            spent = (time.perf_counter() - started) * 1000
        statements = [query["sql"] for query in queries.captured_queries]
        print(json.dumps({"ms": spent, "sql": statements, "status": answer.status_code}), flush=True)


def addresses(entries: Any) -> dict[str, str]:
    """The URLs by name, with filter values that many entries have, few entries, or old ones."""
    import _audit_rows

    last = entries.objects.order_by("-pk").values_list("pk", flat=True)[0]
    first_at, days = _audit_rows.FIRST, last * _audit_rows.STEP

    def local(part: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(first_at + days * part))

    pair = " ↔ ".join(entries.objects.filter(user_a="user-8").values_list("user_a", "user_b")[0])
    # Of the middle, the recall that has one.
    recall = entries.objects.filter(pk=last // 2).values_list("recall", flat=True)[0]
    page = "/admin/audit/auditentry/"
    return {
        "first page": page,
        "deepest page": f"{page}?before=101",
        "middle page": f"{page}?before={last // 2}",
        "actor": f"{page}?other_actors=mo-1",
        "actor, seldom": f"{page}?other_actors=seldom",
        "actor who left": f"{page}?other_actors=left",
        "actor, several": f"{page}?other_actors=left,seldom,mo-1",
        "actor, several that left": f"{page}?other_actors=left,nobody-of-this-name",
        "actor, deepest page": f"{page}?other_actors=left&before=101",
        "action": f"{page}?action=recall.answered",
        "action, none": f"{page}?action=reason.changed",
        "action, several": f"{page}?action=recall.requested&action=recall.sending&action=reason.changed",
        "application": f"{page}?app=default",
        "group": f"{page}?conversation=group-7",
        "user": f"{page}?conversation=user-7",
        "pair": f"{page}?conversation={pair}",
        "conversations, several": f"{page}?conversation=group-7%0Auser-7%0Agroup-9",
        "response code": f"{page}?response_code=401",
        "response code none": f"{page}?response_code=none",
        "response codes, several": f"{page}?response_code=401&response_code=429&other_codes=503",
        "recall": f"{page}?recall={recall}",
        "time": f"{page}?since={local(0.4)}&until={local(0.5)}",
        "time, deepest page": f"{page}?since={local(0.1)}&until={local(0.9)}&before={last // 9}",
        "time, since": f"{page}?since={local(0.01)}",
        "time and actor": f"{page}?since={local(0.3)}&until={local(0.6)}&other_actors=mo-1",
        "time and actor, seldom": f"{page}?since={local(0.3)}&until={local(0.6)}&other_actors=seldom",
        "time and actor who left before": f"{page}?since={local(0.3)}&other_actors=left",
        "time and response code": f"{page}?since={local(0.3)}&until={local(0.6)}&response_code=none",
        "time and user": f"{page}?since={local(0.01)}&until={local(0.99)}&conversation=user-7",
    }


class Size:
    """A process that serves a log with `rows` rows."""

    def __init__(self, rows: int, url: str) -> None:
        command = [sys.executable, __file__, "child", str(rows)]
        environment = {**os.environ, "DATABASE_URL": url}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pages: dict[str, str] = self._read()

    def get(self, address: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(address + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = self._read()
        if answer["status"] != 200:
            sys.exit(f"{address}: {answer['status']}")
        return answer

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95 - 0.5)]


def small_url(url: str) -> str:
    """Where the log of 10,000 rows is: an empty database of the same engine."""
    if url.startswith("sqlite"):
        return f"{url}-small"
    import psycopg

    name = url.rsplit("/", 1)[1] + "_small"
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(f'DROP DATABASE IF EXISTS "{name}"')
        database.execute(f'CREATE DATABASE "{name}"')
    return f"{url}_small"


def main(rows: int, count: int) -> int:
    """Print the figures; 1 if one is missed."""
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.setdefault("DATABASE_URL", f"sqlite:///{folder}/bench.sqlite3")
        os.environ |= {
            "SECRET_KEY": "benchmark-" * 6,
            "DEBUG": "false",
            "DJANGO_SETTINGS_MODULE": "moderation.settings",
            "AUDIT_CHECKPOINT_FILE": "",
        }
        print(f"{url.partition(':')[0]}: {rows:,} entries against {SMALL:,}, {count} requests each, in turn")
        small, large = Size(SMALL, small_url(url)), Size(rows, url)
        figures: list[tuple[str, float, str, float]] = []
        bad: set[str] = set()
        for name in small.pages:
            times: dict[Size, list[float]] = {small: [], large: []}
            for number in range(count + 1):
                for size in (small, large):
                    answer = size.get(size.pages[name])
                    bad.update(sql for sql in answer["sql"] if FORBIDDEN.search(sql))
                    if number:
                        times[size].append(answer["ms"])
            at_small, at_large = p95(times[small]), p95(times[large])
            least = min(times[large]) / min(times[small])
            print(f"  {name}: p95 {at_small:.0f} and {at_large:.0f} ms; the quickest of each {least:.2f}", flush=True)
            figures.append((name, at_large / at_small, "≤", BOUND))
        for name, address in {"first page": "", "actor": "?actor__exact=mo-1", "deepest page": "?p={}"}.items():
            times = {
                size: [size.get(f"/stock/audit/auditentry/{address.format(most // 100)}")["ms"] for _ in range(2)]
                for size, most in ((small, SMALL), (large, rows))
            }
            print(f"  Django's own list, {name}: {min(times[small]):,.0f} ms and {min(times[large]):,.0f} ms")
        for size in (small, large):
            size.process.communicate()
        for sql in bad:
            print(f"  NOT BY KEY: {sql[:300]}")
        return verdict(figures) or int(bool(bad))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(int(sys.argv[2]))
    else:
        given = [int(argument.replace(",", "")) for argument in sys.argv[1:]]
        sys.exit(main(*(given + [10_000_000, 20][len(given) :])))
