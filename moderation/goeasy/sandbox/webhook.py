"""The sandbox's webhook: signed as documented, three attempts, then off (docs/goeasy-api.md, "Webhook")."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from moderation.goeasy.sandbox.behaviour import Behaviour
from moderation.goeasy.sandbox.shapes import webhook_content
from moderation.goeasy.sandbox.store import Store
from moderation.goeasy.signing import sign

MAX_ATTEMPTS = 3
TIMEOUT = 3.0  # seconds
# Seconds to wait for more messages of the same delivery.
PACKING_SECONDS = 0.2
BOUNDARY = "goeasy-sandbox"
ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'


class Webhook:
    """Delivers messages in order to one URL from its own thread, until a delivery fails three times."""

    def __init__(self, url: str, secret_key: str, store: Store, behaviour: Callable[[], Behaviour]) -> None:
        self.url = url
        self.secret_key = secret_key
        self.store = store
        self.behaviour = behaviour
        self.waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._deliver_all, daemon=True)
        self.thread.start()

    @property
    def is_on(self) -> bool:
        """Whether deliveries are sent; three failures turn it off until it is turned on again."""
        return bool(self.store.setting("webhook_on", True))

    def put(self, message: dict[str, Any]) -> None:
        """Queue `message` for delivery."""
        self.waiting.put(message)

    def close(self) -> None:
        """Deliver what is queued, then stop."""
        self.waiting.put(None)
        self.thread.join(timeout=10)

    def _deliver_all(self) -> None:
        while (message := self.waiting.get()) is not None:
            messages, is_last = self._packed([message])
            if self.is_on and not any(self._deliver(messages) for _ in range(MAX_ATTEMPTS)):
                self.store.set_setting("webhook_on", False)
            if is_last:
                return

    def _packed(self, messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
        """Messages of one delivery, starting with `messages`; and whether it is the last one."""
        until = time.monotonic() + PACKING_SECONDS
        while len(messages) < self.behaviour().webhook_packs:
            try:
                message = self.waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if message is None:
                return messages, True
            messages.append(message)
        return messages, False

    def _deliver(self, messages: list[dict[str, Any]]) -> bool:
        behaviour = self.behaviour()
        content = webhook_content(messages, behaviour)
        content_type, body = encoded(content, behaviour.webhook_as)
        request = urllib.request.Request(  # noqa: S310 - the URL is an option of the sandbox
            self.url,
            data=body,
            headers={
                "Content-Type": content_type,
                "x-goeasy-signature": sign(self.secret_key, body if behaviour.webhook_signs_body else content),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                return bool(response.status == 200 and response.read(1024).strip() == ACKNOWLEDGEMENT)
        except (OSError, ValueError, http.client.HTTPException):
            return False


def encoded(content: str, form: str) -> tuple[str, bytes]:
    """Content type and body that carry `content`."""
    if form == "json":
        return "application/json", json.dumps({"content": content}).encode()
    if form == "multipart":
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="content"\r\n\r\n'
        text = content.encode("utf-8", "surrogatepass")
        return f"multipart/form-data; boundary={BOUNDARY}", head.encode() + text + f"\r\n--{BOUNDARY}--\r\n".encode()
    return "application/x-www-form-urlencoded", urllib.parse.urlencode(
        {"content": content}, errors="surrogatepass"
    ).encode()
