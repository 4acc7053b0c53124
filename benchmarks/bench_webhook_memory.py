"""The peak memory of the webhook's process and of a worker while deliveries of 20 MB come, several at once.

Run it with DATABASE_URL of either engine (default: a new SQLite file; of PostgreSQL, an empty database).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]
from _setup import verdict
from bench_memory import forget_peak, peak_mb
from bench_webhook import ROOT, SECRET, contents, prepare, request, send
from bench_webhook_under_load import ANSWER, WEBHOOK, gunicorn

SIZE = 20 * 1024 * 1024
# Deliveries of each encoding sent at once.
AT_ONCE = 4


def content(number: int) -> bytes:
    """A delivery of almost 20 MB: ordinary messages in Chinese, of which a form makes 60 MB."""
    text = "消息" * 100
    made: list[str] = []
    size = 2
    while size < SIZE - 2_000:
        message = {
            "type": "text",
            "messageId": f"large-{number}-{len(made)}",
            "timestamp": 1_700_000_000_000 + len(made),
            "senderId": f"user-{len(made) % 50}",
            "senderData": {"name": f"用户 {len(made) % 50}"},
            "groupId": f"bench-{number}",
            "payload": {"text": text},
        }
        made.append(json.dumps(message, ensure_ascii=False))
        size += len(made[-1].encode()) + 1
    return f"[{','.join(made)}]".encode()


def as_json(content: bytes, port: int) -> bytes:
    """A signed delivery whose body is JSON."""
    from moderation.goeasy.signing import sign

    body = json.dumps({"content": content.decode()}).encode()
    head = (
        f"POST /webhooks/goeasy/default/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nx-goeasy-signature: {sign(SECRET, content)}\r\n\r\n"
    )
    return head.encode() + body


def post(delivery: bytes, port: int) -> None:
    """Send a delivery and wait for its acknowledgement."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as wire:
        wire.sendall(delivery)
        answer = b""
        while not answer.endswith(ANSWER):
            part = wire.recv(4096)
            assert part, answer
            answer += part


def main() -> int:
    """Print the figures; 1 when one is missed."""
    from django.db import connection

    from moderation.archive.models import Message
    from moderation.ingestion.models import WebhookDelivery

    print(f"Deliveries of 20 MB on {connection.vendor}, {AT_ONCE} at once:")
    with gunicorn(*WEBHOOK, "--workers", "1", "--pid", str(pid_file := Path(tempfile.mkdtemp()) / "pid")) as port:
        master = int(pid_file.read_text())
        (web,) = map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())
        send([request(each, port) for each in contents(20, 1)], port, [])
        small = peak_mb(web)
        peaks = []
        for make, begin in ((request, 0), (as_json, AT_ONCE)):
            forget_peak(web)
            bodies = [make(content(begin + number), port) for number in range(AT_ONCE)]
            started = time.perf_counter()
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(lambda body: post(body, port), bodies))
            peaks.append(peak_mb(web))
            kind = "form" if make is request else "JSON"
            print(f"  as {kind}: webhook's process {peaks[-1]:.0f} MB ({small:.0f} before), all acknowledged after "
                  f"{time.perf_counter() - started:.1f} s")  # fmt: skip
            del bodies
    waiting = WebhookDelivery.objects.filter(state="waiting")
    assert waiting.count() == 2 * AT_ONCE
    worker = subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        started = time.perf_counter()
        time.sleep(0.5)
        while waiting.exists():
            time.sleep(0.5)
        read = time.perf_counter() - started
        reading = peak_mb(worker.pid)
        print(f"  worker: {reading:.0f} MB, {Message.objects.count():,} messages read in {read:.0f} s")
    finally:
        worker.terminate()
        worker.wait(timeout=60)
    form, as_text = (peak - small for peak in peaks)
    # GoEasy sends forms. A JSON body is held whole until it is decoded: 40 MB each where every character is escaped.
    bounds = [("MB more in the web, forms", form, "≤", 250), ("MB more in the web, JSON", as_text, "≤", 350)]
    return verdict([*bounds, ("MB of the worker", reading, "≤", 400)])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        status = main()
    sys.exit(status)
