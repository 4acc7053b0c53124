"""The sandbox's server: GoEasy's REST endpoints, and `/sandbox/…` to arrange faults and to see what came in."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from moderation.goeasy.sandbox import media, rules
from moderation.goeasy.sandbox.faults import Faults, Rule, parse_rules
from moderation.goeasy.sandbox.store import Store
from moderation.goeasy.sandbox.webhook import Webhook

ENDPOINTS = {
    ("POST", "/v2/im/history/recall"): "recall",
    ("GET", "/v2/im/history"): "history",
    ("POST", "/v2/im/message"): "send",
}
MAX_BODY = 1024 * 1024
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"

Reply = tuple[int, object]


class Sandbox:
    """A GoEasy of one application. Runs in threads of its own between `start()` and `close()`, or in a `with`.

    `appkey`, `rest_key` (both may do everything) and `subscribe_key` (may do nothing here) are its keys.
    `on_call` is called with each call as it arrives, before anything else happens.
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
    ) -> None:
        self.appkey, self.rest_key, self.subscribe_key = appkey, rest_key, subscribe_key
        self.secret_key = secret_key
        self.store = Store(data)
        self.faults = Faults()
        self.received: list[dict[str, Any]] = []
        self.in_flight: dict[str, int] = {}
        self.lock = threading.Lock()
        self.on_call: Callable[[dict[str, Any]], None] | None = None
        self.server = Server((host, port), Handler)
        self.server.sandbox = self
        self.url = f"http://{host}:{self.server.server_address[1]}"
        self.webhook = Webhook(webhook_url, secret_key, self.store) if webhook_url else None
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
        """Serve from a thread."""
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Take no more calls, and let go of the file."""
        self.server.shutdown()
        self.server.server_close()
        if self.webhook:
            self.webhook.close()
        self.store.close()

    def seed(self) -> None:
        """Fill it with the demo's conversations."""
        from moderation.goeasy.sandbox.seed import demo

        for conversation, messages in demo(now_ms=time.time_ns() // 1_000_000, media_base=f"{self.url}/sandbox/media"):
            self.store.add(conversation, messages)

    def reset(self, seed: str | None = None) -> None:
        """Forget messages, faults and calls."""
        self.store.clear()
        self.faults.set([])
        self.received.clear()
        if seed:
            self.seed()

    def calls(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The calls that arrived, in order, of one endpoint or of all."""
        with self.lock:
            return [call for call in self.received if endpoint in {None, call["endpoint"]}]

    def set_faults(self, faults: list[dict[str, Any]]) -> None:
        """Replace the faults in force (`faults.Rule`)."""
        self.faults.set(parse_rules({"rules": faults}))

    def clear_faults(self) -> None:
        """Behave well again."""
        self.faults.set([])

    def add_messages(self, conversation: dict[str, Any], messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put messages there as they are, with their timestamps (ms)."""
        return self.store.add(conversation, messages)

    def messages(self, conversation: dict[str, Any]) -> list[dict[str, Any]]:
        """Everything of a conversation, newest first, recalled or not."""
        return self.store.history(conversation, limit=1_000_000, before=2**62)

    # The endpoints. Each returns (code, content); the HTTP status follows the code.

    def recall(self, body: dict[str, Any]) -> Reply:
        """POST /v2/im/history/recall."""
        conversation, timestamps, recaller = rules.check_recall(body)
        self.store.recall(conversation, timestamps, recaller)
        return 200, "OK"

    def history(self, query: dict[str, str]) -> Reply:
        """GET /v2/im/history."""
        conversation, limit, before = rules.check_history(query)
        return 200, self.store.history(conversation, limit=limit, before=before)

    def send(self, body: dict[str, Any]) -> Reply:
        """POST /v2/im/message."""
        conversation, message = rules.check_send(body)
        (kept,) = self.store.add(conversation, [message])
        if self.webhook:
            self.webhook.put(kept)
        return 200, "OK"

    def may(self, appkey: object) -> bool:
        """Whether the key may use the REST API: a subscribe key may not."""
        return isinstance(appkey, str) and appkey in {self.appkey, self.rest_key}

    def control(self, method: str, path: str, query: dict[str, str], body: Any) -> Reply | None:
        """What `/sandbox/…` answers; None for an address that is none."""
        match method, path:
            case "GET", "/sandbox/faults":
                return 200, [vars(rule) for rule in self.faults.rules]
            case "POST", "/sandbox/faults":
                self.faults.set(parse_rules(body))
                return 200, "OK"
            case "DELETE", "/sandbox/faults":
                self.clear_faults()
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


class Server(ThreadingHTTPServer):
    """A thread a connection, kept alive between calls."""

    sandbox: Sandbox
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours; anything else is a mistake that must not pass for a fault."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection: reads a call, lets the sandbox's faults and rules at it, answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "GoEasySandbox"
    under_way: str | None = None

    def setup(self) -> None:
        super().setup()
        # Head and body leave in two writes: without this the second waits for the first to be acknowledged.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it so
        """Addresses carry the key: nothing is logged."""

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - http.server's names

    def answer(self) -> None:
        """Answer one call, whatever it is."""
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        length = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self.send_error(411, "Content-Length must say how long the body is")
            return
        if len(length) > 9 or int(length) > MAX_BODY:
            self.send_error(413, f"the body is at most {MAX_BODY} bytes")
            return
        raw = self.rfile.read(int(length))
        if address.path.startswith("/sandbox/media/"):
            self.reply_raw(*media.serve(address.path.removeprefix("/sandbox/media/")))
        elif address.path.startswith("/sandbox/"):
            self.control(address.path, query, raw)
        elif endpoint := ENDPOINTS.get((self.command, address.path)):
            self.call(endpoint, query, raw)
        else:
            known = address.path in {path for _method, path in ENDPOINTS}
            self.reply(405 if known else 404, "Method Not Allowed" if known else "Not Found")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse, in JSON too, what http.server or `answer` cannot read: where the next call begins is unknown."""
        self.close_connection = True
        # http.server calls a method that it does not know 501.
        code, message = (405, "Method Not Allowed") if code == 501 else (code, message or "Bad Request")
        self.reply(code, message)

    def control(self, path: str, query: dict[str, str], raw: bytes) -> None:
        """Answer `/sandbox/…`."""
        try:
            reply = self.server.sandbox.control(self.command, path, query, json.loads(raw) if raw else None)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            reply = 400, f"{type(problem).__name__}: {problem}"
        self.reply(*(reply or (404, "Not Found")))

    def call(self, endpoint: str, query: dict[str, str], raw: bytes) -> None:
        """Answer one of GoEasy's endpoints."""
        sandbox = self.server.sandbox
        body = self.parse(raw) if self.command == "POST" else None
        fields = query if body is None else body if isinstance(body, dict) else {}
        is_valid = sandbox.may(fields.get("appkey"))
        shown = {**fields, "appkey": "valid" if is_valid else "invalid"} if "appkey" in fields else dict(fields)
        with sandbox.lock:
            sandbox.in_flight[endpoint] = sandbox.in_flight.get(endpoint, 0) + 1
            call: dict[str, Any] = {
                "at_ms": time.time_ns() // 1_000_000,
                "endpoint": endpoint,
                "method": self.command,
                "path": urlsplit(self.path).path,
                "body": shown if self.command == "POST" else None,
                "query": shown if self.command == "GET" else {},
                "in_flight": sandbox.in_flight[endpoint],
                "answer_code": None,
                "http_status": None,
            }
            sandbox.received.append(call)
        self.under_way = endpoint
        try:
            if sandbox.on_call:
                sandbox.on_call(call)
            self.act(endpoint, call, fields, body, is_valid)
        finally:
            self.leave()

    def leave(self) -> None:
        """Count the call as over. Done before its answer leaves: the client's next call may come at once."""
        if self.under_way:
            with self.server.sandbox.lock:
                self.server.sandbox.in_flight[self.under_way] -= 1
            self.under_way = None

    def parse(self, raw: bytes) -> Any:
        """The JSON body, or a Wrong that says what it is instead."""
        if self.headers.get_content_type() != "application/json":
            return rules.Wrong("Content-Type must be application/json")
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return rules.Wrong("the body is not JSON")

    def act(self, endpoint: str, call: dict[str, Any], fields: dict[str, Any], body: Any, is_valid: bool) -> None:
        """Let the faults at the call, then the rules; answer."""
        fault: Rule | None = None
        for rule in self.server.sandbox.faults.take(endpoint):
            if rule.kind == "latency":
                time.sleep(rule.options.get("ms", 0) / 1000)
            else:
                fault = rule
        options = fault.options if fault else {}
        match fault.kind if fault else "":
            case "drop_before":
                self.drop()
                return
            case "status":
                call["http_status"] = status = int(options.get("status", 500))
                after = {"Retry-After": str(options["retry_after"])} if "retry_after" in options else {}
                self.reply_raw(status, "application/json", b"{}", after)
                return
            case "refuse" if not options.get("effect"):
                self.refuse(call, options)
                return
            case "redirect":
                call["http_status"] = 302
                self.reply_raw(302, "text/plain", b"", {"Location": str(options["to"])})
                return
            case "html" if not options.get("effect"):
                call["http_status"] = status = int(options.get("status", 502))
                self.reply_raw(status, "text/html", HTML)
                return
        code, content = self.apply(endpoint, fields, body, is_valid)
        match fault.kind if fault else "":
            case "drop_after":
                self.drop()
            case "html":
                call["http_status"] = status = int(options.get("status", 502))
                self.reply_raw(status, "text/html", HTML)
            case "refuse":
                self.refuse(call, options)
            case "half":
                self.half(code, content)
            case _:
                call["answer_code"] = call["http_status"] = code
                self.reply(code, content)

    def apply(self, endpoint: str, fields: dict[str, Any], body: Any, is_valid: bool) -> Reply:
        """What GoEasy would do with the call."""
        if isinstance(body, rules.Wrong):
            return 400, str(body)
        if self.command == "POST" and not isinstance(body, dict):
            return 400, "the body must be a JSON object"
        if not is_valid:
            return 401, "Unauthorized"
        try:
            handle: Callable[[dict[str, Any]], Reply] = getattr(self.server.sandbox, endpoint)
            return handle(fields)
        except rules.Wrong as wrong:
            return 400, str(wrong)

    def refuse(self, call: dict[str, Any], options: dict[str, Any]) -> None:
        """Answer with the code, the content and the HTTP status of a fault."""
        call["answer_code"] = code = int(options.get("code", 401))
        call["http_status"] = status = int(options.get("status", code))
        self.reply(code, options.get("content", "Unauthorized"), status=status)

    def reply(self, code: int, content: object, *, status: int | None = None) -> None:
        """Answer GoEasy's way: {"code", "content"}, the HTTP status following the code unless it is given."""
        text = json.dumps({"code": code, "content": content}, ensure_ascii=False, separators=(",", ":"))
        self.reply_raw(status or code, "application/json;charset=UTF-8", text.encode("utf-8", "surrogatepass"))

    def reply_raw(self, status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer with these bytes."""
        self.leave()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without a word."""
        self.leave()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def half(self, code: int, content: object) -> None:
        """Begin an answer and close the connection in the middle."""
        body = json.dumps({"code": code, "content": content}).encode()
        self.leave()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.drop()
