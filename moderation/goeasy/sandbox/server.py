"""The sandbox: GoEasy's REST endpoints, and `/sandbox/…` to set faults and inspect calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moderation.goeasy.sandbox import rules
from moderation.goeasy.sandbox.behaviour import Behaviour
from moderation.goeasy.sandbox.faults import Faults, parse_rules
from moderation.goeasy.sandbox.handler import Handler, Reply, Server
from moderation.goeasy.sandbox.shapes import render_message
from moderation.goeasy.sandbox.store import Store, conversation_key
from moderation.goeasy.sandbox.webhook import Webhook


class Sandbox:
    """A GoEasy with one application, served by its own threads between `start()` and `close()`, or within a `with`.

    `appkey` and `rest_key` may use every endpoint, `subscribe_key` none. `on_call` is called with each call when it
    arrives, before anything else. `behaviour` may be replaced at any time.
    """

    def __init__(
        self,
        *,
        data: Path | str = ":memory:",
        host: str = "127.0.0.1",
        port: int = 0,
        seed: str | None = None,
        appkey: str = "BC-0123456789abcdef",
        rest_key: str = "PR-0123456789abcdef",
        subscribe_key: str = "BS-0123456789abcdef",
        secret_key: str = "0123456789abcdef",  # noqa: S107 - an example, as every key of a sandbox
        webhook_url: str | None = None,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.appkey, self.rest_key, self.subscribe_key = appkey, rest_key, subscribe_key
        self.secret_key = secret_key
        self.store = Store(data)
        self.faults = Faults()
        self.behaviour = behaviour or Behaviour()
        # Monotonic time of each recall (seconds), by conversation and timestamp; not kept over a restart.
        self.recalled_at: dict[tuple[str, int], float] = {}
        self.received: list[dict[str, Any]] = []
        self.in_flight: dict[str, int] = {}
        self.lock = threading.Lock()
        self.on_call: Callable[[dict[str, Any]], None] | None = None
        self.server = Server((host, port), Handler)
        self.server.sandbox = self
        self.url = f"http://{host}:{self.server.server_address[1]}"
        self.webhook = Webhook(webhook_url, secret_key, self.store, lambda: self.behaviour) if webhook_url else None
        if seed and self.store.is_empty():
            self.seed()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start to serve in a thread."""
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop serving and close the file."""
        self.server.shutdown()
        self.server.server_close()
        if self.webhook:
            self.webhook.close()
        self.store.close()

    def seed(self) -> None:
        """Add the demo conversations."""
        from moderation.goeasy.sandbox.seed import demo

        for conversation, messages in demo(now_ms=time.time_ns() // 1_000_000, media_base=f"{self.url}/sandbox/media"):
            self.store.add(conversation, messages)

    def reset(self, seed: str | None = None) -> None:
        """Delete messages, faults and recorded calls."""
        self.store.clear()
        self.faults.set([])
        self.received.clear()
        if seed:
            self.seed()

    def calls(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """Received calls in order, of one endpoint or of all."""
        with self.lock:
            return [call for call in self.received if endpoint in {None, call["endpoint"]}]

    def set_faults(self, faults: list[dict[str, Any]]) -> None:
        """Replace the active faults (`faults.Rule`)."""
        self.faults.set(parse_rules({"rules": faults}))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.faults.set([])

    def add_messages(self, conversation: dict[str, Any], messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Store messages as they are, with their timestamps (ms)."""
        return self.store.add(conversation, messages)

    def messages(self, conversation: dict[str, Any]) -> list[dict[str, Any]]:
        """All messages of a conversation, newest first, recalled or not."""
        return self.store.history(conversation, limit=1_000_000, before=2**62)

    # The endpoints. Each returns (code, content); the HTTP status follows the code.

    def recall(self, body: dict[str, Any]) -> Reply:
        """POST /v2/im/history/recall."""
        behaviour = self.behaviour
        conversation, timestamps, recaller = rules.check_recall(body)
        if behaviour.recall_reports_failures:
            return 200, {"success": [], "failed": timestamps}
        if behaviour.recall_ignores_older_than:
            oldest = time.time() * 1000 - behaviour.recall_ignores_older_than * 1000
            timestamps = [timestamp for timestamp in timestamps if timestamp >= oldest]
        for timestamp in timestamps:
            self.recalled_at.setdefault((conversation_key(conversation), timestamp), time.monotonic())
        changed = self.store.recall(conversation, timestamps, recaller)
        if self.webhook and behaviour.webhook_reports_recalls:
            for message in changed:
                self.webhook.put(message)
        code = behaviour.recall_code if changed else behaviour.recall_again_code
        return code, "OK" if code == 200 else "Host unreachable or timeout" if code == 408 else "Failed"

    def history(self, query: dict[str, str]) -> Reply:
        """GET /v2/im/history."""
        behaviour = self.behaviour
        conversation, limit, before = rules.check_history(query)

        def as_visible(message: dict[str, Any]) -> dict[str, Any]:
            """The message, without the mark of a recall that does not show yet."""
            at = self.recalled_at.get((conversation_key(conversation), message["timestamp"]), 0.0)
            if not message.get("recalled") or time.monotonic() >= at + behaviour.mark_delay:
                return message
            return {name: value for name, value in message.items() if name not in {"recalled", "recaller"}}

        def is_not_recalled(message: dict[str, Any]) -> bool:
            return not as_visible(message).get("recalled")

        page = self.store.history(
            conversation,
            limit=min(limit, behaviour.page_cap),
            before=before + behaviour.cursor_inclusive,
            **({"keep": is_not_recalled} if behaviour.history_drops_recalled else {}),
        )
        if behaviour.history_filters_after_limit:
            page = list(filter(is_not_recalled, page))
        if behaviour.history_oldest_first:
            page.reverse()
        return 200, [render_message(as_visible(message), behaviour) for message in page]

    def send(self, body: dict[str, Any]) -> Reply:
        """POST /v2/im/message."""
        conversation, message = rules.check_send(body)
        if self.behaviour.send_needs_data:
            rules.require(body.get("senderData") is not None, "senderData is required")
            rules.require(body["to"].get("data") is not None, "to.data is required")
        (kept,) = self.store.add(conversation, [message])
        if self.webhook:
            self.webhook.put(kept)
        return 200, "OK"

    def is_allowed(self, appkey: object) -> bool:
        """Whether the key may use the REST API; a subscribe key may not."""
        return isinstance(appkey, str) and appkey in {self.appkey, self.rest_key}

    def control(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply | None:
        """Answer to a `/sandbox/…` request; None if the path does not exist."""
        match method, path:
            case "GET", "/sandbox/faults":
                return 200, [vars(rule) for rule in self.faults.rules]
            case "POST", "/sandbox/faults":
                self.faults.set(parse_rules(body))
                return 200, "OK"
            case "DELETE", "/sandbox/faults":
                self.clear_faults()
                return 200, "OK"
            case "GET", "/sandbox/behaviour":
                return 200, vars(self.behaviour)
            case "POST", "/sandbox/behaviour":
                self.behaviour = Behaviour.parse(body, self.behaviour)
                return 200, vars(self.behaviour)
            case "DELETE", "/sandbox/behaviour":
                self.behaviour = Behaviour()
                return 200, "OK"
            case "GET", "/sandbox/calls":
                return 200, self.calls(query.get("endpoint"))
            case "DELETE", "/sandbox/calls":
                with self.lock:
                    self.received.clear()
                return 200, "OK"
            case "GET", "/sandbox/messages":
                if "group" in query:
                    return 200, self.messages({"kind": "group", "group_id": query["group"]})
                names = {name: query.get(name, "") for name in ("user_a", "user_b")}
                return 200, self.messages({"kind": "private", **names})
            case "POST", "/sandbox/messages":
                return 200, self.add_messages(body["conversation"], body["messages"])
            case "POST", "/sandbox/reset":
                seed = (body or {}).get("seed")
                if seed not in (None, "demo"):
                    raise ValueError("seed is demo, or left out")
                self.reset(seed)
                return 200, "OK"
            case "POST", "/sandbox/webhook":
                self.store.set_setting("webhook_on", bool(body["on"]))
                return 200, "OK"
        return None
