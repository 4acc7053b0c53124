"""The sandbox's webhook: signed as documented, three tries, then silence (goeasy-api.md, "Webhook")."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from moderation.goeasy.sandbox.store import Store
from moderation.goeasy.signing import sign

TRIES = 3
TIMEOUT = 3.0  # seconds
ACKNOWLEDGEMENT = b'{"code":200,"content":"success"}'


class Webhook:
    """Delivers messages to one address from a thread of its own, in order, until it is refused three times."""

    def __init__(self, url: str, secret_key: str, store: Store) -> None:
        self.url = url
        self.secret_key = secret_key
        self.store = store
        self.waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._deliver_all, daemon=True)
        self.thread.start()

    @property
    def is_on(self) -> bool:
        """Whether anything is delivered; off for good after three failures, until somebody turns it on."""
        return bool(self.store.setting("webhook_on", True))

    def put(self, message: dict[str, Any]) -> None:
        """Deliver `message` soon."""
        self.waiting.put(message)

    def close(self) -> None:
        """Deliver what waits, then end."""
        self.waiting.put(None)
        self.thread.join(timeout=10)

    def _deliver_all(self) -> None:
        while (message := self.waiting.get()) is not None:
            if self.is_on and not any(self._deliver(message) for _ in range(TRIES)):
                self.store.set_setting("webhook_on", False)

    def _deliver(self, message: dict[str, Any]) -> bool:
        content = json.dumps([message], ensure_ascii=False, separators=(",", ":"))
        request = urllib.request.Request(  # noqa: S310 - the address that whoever started the sandbox gave
            self.url,
            data=urllib.parse.urlencode({"content": content}, errors="surrogatepass").encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "x-goeasy-signature": sign(self.secret_key, content),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                return bool(response.status == 200 and response.read(1024).strip() == ACKNOWLEDGEMENT)
        except (OSError, ValueError, http.client.HTTPException):
            return False
