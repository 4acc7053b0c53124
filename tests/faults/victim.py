"""Processes that are killed at a named point of their work or at a random moment.

`python -m tests.faults.victim` reads one order per line (JSON) and forks a child for each, so that Django is imported
only once. The child does real work on the database of DATABASE_URL; only the child is patched.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID


def points() -> dict[str, tuple[object, str, bool]]:
    """Points at which a child can be killed: after the named function returns, or (False) when it starts."""
    from moderation.goeasy.client import Client
    from moderation.outbox import claims, recovery, sender
    from recall import services

    return {
        "before the intent is committed": (claims, "claim_rows", True),
        "after the intent is committed": (claims.Claimer, "claim", True),
        "after the request is written": (http.client.HTTPConnection, "getresponse", False),
        "after the answer is read": (Client, "perform", True),
        "after the outcome is committed": (sender, "record_results", True),
        "while a recall is being split": (services, "_split", True),
        "while a lease is taken over": (recovery, "record_all", True),
    }


def arm(point: str, nth: int) -> None:
    """Let this process kill itself when it reaches `point` for the `nth` time."""
    owner, name, after = points()[point]
    original: Callable[..., Any] = getattr(owner, name)
    left = nth

    @wraps(original)
    def kill_at_point(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if not after and left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, kill_at_point)


def work(order: dict[str, Any]) -> None:
    """Carry out an order: request a recall (`request`), send it (`send`), recover orphaned attempts (`recover`)."""
    from moderation.accounts.models import User
    from moderation.archive.models import Conversation
    from moderation.outbox.recovery import recover_orphans
    from moderation.outbox.sender import send_due
    from recall import services
    from recall.models import Recall, RecallReason

    if "request" in order["steps"]:
        services.request_recall(
            conversation=Conversation.objects.get(pk=order["conversation"]),
            actor=User.objects.all()[0],
            reason=RecallReason.objects.all()[0],
            note="",
            timestamps=order["timestamps"],
            recaller=None,
            submission=UUID(order["submission"]),
            grace_seconds=0,
        )
    if "send" in order["steps"]:
        send_due(Recall.objects.get(submission=order["submission"]).application)
    if "recover" in order["steps"]:
        recover_orphans()


def main() -> None:
    """Fork a child for each order and print its exit status."""
    import django

    django.setup()
    # Import everything before forking.
    points()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            random.seed()
            if order.get("point"):
                arm(order["point"], order["nth"])
            work(order)
            os._exit(0)
        if order.get("kill_after") is not None:
            time.sleep(order["kill_after"])
            os.kill(child, signal.SIGKILL)
        _pid, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
