"""`make demo`: a console with a GoEasy of its own to play in, from nothing to running, ended by Ctrl-C.

Who: somebody who has just cloned the repository and wants to see the main job done before configuring anything.
`python -m moderation.demo manage COMMAND …` runs a command of manage.py with the demo's settings and database.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data" / "demo"
# The settings of the demo that was started last, for its commands.
SETTINGS = DATA / "settings.json"
MANAGE = ".venv/bin/python -m moderation.demo manage"
SECONDS_BETWEEN_MESSAGES = 6.0
PASSWORD = "console-demo"  # noqa: S105 - of the demo's accounts, on this machine alone; printed at the start
ACCOUNTS = {
    "moderator": "sees conversations and recalls messages",
    "lead": "also keeps the reasons and the pseudonyms",
    "auditor": "reads everything, changes nothing",
    "admin": "everything, Django admin included",
}


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken(port: int) -> bool:
    """Whether something listens on the loopback interface's `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def environment(port: int, sandbox_port: int) -> dict[str, str]:
    """Settings of the demo: production's, less TLS, and with the sandbox as its GoEasy."""
    # Until DATA_DIR there was one key for the demo and the console beside it.
    key, former_key = DATA / "audit-signing-key", DATA.parent / "audit-signing-key"
    if (DATA / "console.sqlite3").exists() and former_key.exists() and not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(former_key.read_bytes())
    secret_file = DATA / "secret-key"
    if not secret_file.exists():
        secret_file.touch(mode=0o600)
        secret_file.write_text(secrets.token_urlsafe(60))
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    # Whatever a .env of this folder says.
    files = (f"{name}_FILE" for name in ("SECRET_KEY", "DATABASE_URL", "GOEASY_APPKEY", "GOEASY_SECRET_KEY"))
    return {
        **dict.fromkeys(files, ""),
        "SECRET_KEY": secret_file.read_text(),
        "DEBUG": "false",
        "HTTPS": "false",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "CSRF_TRUSTED_ORIGINS": f"http://localhost:{port},http://127.0.0.1:{port}",
        "DATA_DIR": str(DATA),
        "DATABASE_URL": os.environ.get("DEMO_DATABASE_URL", ""),
        "GOEASY_APPKEY": "BC-demo-0123456789abcdef",
        "GOEASY_SECRET_KEY": "demo-secret-0123456789",
        "GOEASY_REST_HOST": sandbox,
        "GOEASY_ALLOWED_HOSTS": "*.goeasy.io,127.0.0.1",
        "MEDIA_ORIGINS": sandbox,
        # Beside its own database: that of another log would be found to contradict it.
        "AUDIT_CHECKPOINT_FILE": "" if "DEMO_DATABASE_URL" in os.environ else str(DATA / "audit-checkpoint"),
    }


def keep_settings(settings: dict[str, str]) -> None:
    """Write the demo's settings where `manage` finds them: for their owner alone, as SECRET_KEY is among them."""
    SETTINGS.touch(mode=0o600)
    SETTINGS.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def manage(arguments: list[str]) -> None:
    """Run a command of manage.py with the settings of the demo that was started last."""
    from moderation.__main__ import main as run_command

    try:
        os.environ.update(json.loads(SETTINGS.read_text(encoding="utf-8")))
    except FileNotFoundError:
        sys.exit("The demo has no database yet. Start it once: make demo")
    os.chdir(ROOT)
    sys.argv = [MANAGE, *arguments]
    run_command()


def start_web(start: Callable[..., subprocess.Popen[bytes]], port: int, webhook_port: int) -> None:
    """The two web services of a deployment: pages, and the webhook in a process of its own."""
    common = ("--no-control-socket", "--log-level", "warning")
    pages = start("-m", "gunicorn", "moderation.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", "8", *common)
    options = ("--config", "gunicorn_webhook.conf.py", "--bind", f"127.0.0.1:{webhook_port}", "--threads", "4")
    webhook = start("-m", "gunicorn", *options, *common)
    wait_for(f"http://127.0.0.1:{port}/healthz", pages)
    wait_for(f"http://127.0.0.1:{webhook_port}/healthz", webhook)


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Return when `url` answers; exit with a sentence when its process ends or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"A part of the demo ended by itself (exit status {process.returncode}); see above.")
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} did not answer within {seconds:.0f} s.")


def prepare() -> None:
    """Database, static files, accounts, and what the sandbox holds read into the archive."""
    import django

    django.setup()
    from django.core.management import call_command

    from moderation.accounts.models import User
    from moderation.applications.models import Application
    from moderation.archive.models import Conversation
    from moderation.goeasy.sandbox.seed import DEMO_CONVERSATIONS
    from moderation.ingestion.backfill import read_latest

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    for name in ACCOUNTS:
        user, _created = User.objects.get_or_create(username=name, defaults={"role": name})
        # Not anew at every start: each time would be an entry of the audit log.
        if not user.check_password(PASSWORD):
            user.set_password(PASSWORD)
            user.save()
    application = Application.objects.get(slug="default")
    if not application.recaller_id:
        application.recaller_id = "support"
        application.recaller_data = {"name": "客服 Support"}
        application.save()
    for number, target in enumerate(DEMO_CONVERSATIONS, start=1):
        print(f"\rReading history into the archive: {number}/{len(DEMO_CONVERSATIONS)}", end="", flush=True)
        read_latest(Conversation.objects.open(application, target), pages=3)
    print()


def switch_webhook_on() -> None:
    """What a person does in GoEasy's console: an earlier demo may have ended in the middle of a delivery."""
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{os.environ['GOEASY_REST_HOST']}/sandbox/webhook",
        data=b'{"on":true}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310
        pass


def send_message(number: int) -> None:
    """Send the demo's next message as somebody's client would; one that cannot be sent is left out."""
    from moderation.goeasy.client import Client, Recipient
    from moderation.goeasy.errors import GoEasyError
    from moderation.goeasy.sandbox.seed import GROUPS, PAIRS, PEOPLE, TALK

    talks: list[tuple[Recipient, str, list[str]]]
    talks = [(("group", name), topic, members) for name, topic, _count, members in GROUPS]
    talks += [(("private", other), topic, [one]) for one, other, topic, count in PAIRS if count]
    to, topic, members = talks[number * 5 % len(talks)]
    sender, lines = members[number % len(members)], TALK[topic]
    with Client(appkey=os.environ["GOEASY_APPKEY"], rest_host=os.environ["GOEASY_REST_HOST"]) as client:
        try:
            client.send(
                sender_id=sender,
                to=to,
                type="text",
                payload={"text": lines[number % len(lines)]},
                sender_data={"name": PEOPLE[sender]},
            )
        except GoEasyError as error:
            print(f"The sandbox took no message: {error}")


def main() -> None:
    """Start the sandbox, the worker and the web server; end all of them together."""
    port = int(os.environ.get("PORT") or 8000)
    if is_taken(port):
        sys.exit(f"Port {port} is in use. Choose another: make demo PORT={port + 1}")
    DATA.mkdir(parents=True, exist_ok=True)
    # The same port every time, if it can be had: the sandbox's messages remember where their attachments are.
    sandbox_port = free_port() if is_taken(port + 1) else port + 1
    webhook_port = free_port()
    settings = environment(port, sandbox_port)
    keep_settings(settings)
    os.environ.update(settings)
    os.environ["DJANGO_SETTINGS_MODULE"] = "moderation.settings"
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, start_new_session=True)  # noqa: S603
        processes.append(process)
        return process

    def stop(*_signal: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        sandbox = start(
            *("manage.py", "goeasy_sandbox", "--port", str(sandbox_port), "--seed", "demo"),
            *("--data", str(DATA / "sandbox.sqlite3")),
            *("--appkey", os.environ["GOEASY_APPKEY"], "--secret-key", os.environ["GOEASY_SECRET_KEY"]),
            *("--webhook-url", f"http://127.0.0.1:{webhook_port}/webhooks/goeasy/default/"),
        )
        wait_for(f"{os.environ['GOEASY_REST_HOST']}/sandbox/faults", sandbox)
        prepare()
        start("manage.py", "worker")
        start_web(start, port, webhook_port)
        print(f"\nThe console runs at http://127.0.0.1:{port}/   (Ctrl-C ends it)\n")
        print(f"Sign in with one of these; the password is always {PASSWORD}")
        for name, description in ACCOUNTS.items():
            print(f"  {name:<10} {description}")
        print("\nA spam wave by “promo-7731” runs through six conversations: recall it.")
        print("People go on talking meanwhile; their messages arrive by the webhook.")
        print(f"\nCommands for this database, here or in another terminal:\n  {MANAGE} verify_audit")
        print(f"\nOpen http://127.0.0.1:{port}/", flush=True)
        switch_webhook_on()
        sent, next_at = 0, time.monotonic()
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
            if time.monotonic() >= next_at:
                send_message(sent)
                sent, next_at = sent + 1, time.monotonic() + SECONDS_BETWEEN_MESSAGES
        print("A part of the demo ended by itself; see above. Ending the rest.")
    except KeyboardInterrupt:
        print("\nEnding the demo.")
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["manage"]:
        manage(sys.argv[2:])
    else:
        main()
