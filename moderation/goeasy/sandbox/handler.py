"""HTTP layer of the sandbox: connections, faults, and answers in GoEasy's format."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from moderation.goeasy.answers import json_text
from moderation.goeasy.sandbox import media, rules
from moderation.goeasy.sandbox.faults import Rule
from moderation.json_depth import nests_too_deeply

if TYPE_CHECKING:
    from moderation.goeasy.sandbox.server import Sandbox

ENDPOINTS = {
    ("POST", "/v2/im/history/recall"): "recall",
    ("GET", "/v2/im/history"): "history",
    ("POST", "/v2/im/message"): "send",
}
MAX_BODY = 1024 * 1024
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"

Reply = tuple[int, object]


class Server(ThreadingHTTPServer):
    """HTTP server with one thread per connection; connections are kept alive."""

    sandbox: Sandbox
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away; report anything else, so that a bug does not look like a requested fault."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection: reads calls, applies faults and rules, answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "GoEasySandbox"
    active_endpoint: str | None = None

    def setup(self) -> None:
        super().setup()
        # Headers and body are two writes: without this the second would wait for an acknowledgement of the first.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: URLs contain the key."""

    def do_GET(self) -> None:
        self.answer()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - http.server's names

    def answer(self) -> None:
        """Answer one request of any kind."""
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        length = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self.send_error(411, "Content-Length must state the length of the body")
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
            exists = address.path in {path for _method, path in ENDPOINTS}
            self.reply(405 if exists else 404, "Method Not Allowed" if exists else "Not Found")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse an unreadable request, in JSON, and close the connection: where the next one starts is unknown."""
        self.close_connection = True
        # http.server answers an unknown method with 501.
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
        is_valid = sandbox.is_allowed(fields.get("appkey"))
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
        self.active_endpoint = endpoint
        try:
            if sandbox.on_call:
                sandbox.on_call(call)
            self.process(endpoint, call, fields, body, is_valid)
        finally:
            self.finish_call()

    def finish_call(self) -> None:
        """Count the call as finished, before the answer leaves: the client's next call may arrive at once."""
        if self.active_endpoint:
            with self.server.sandbox.lock:
                self.server.sandbox.in_flight[self.active_endpoint] -= 1
            self.active_endpoint = None

    def parse(self, raw: bytes) -> Any:
        """The parsed JSON body, or an InvalidRequest that says what is wrong with it."""
        if self.headers.get_content_type() != "application/json":
            return rules.InvalidRequest("Content-Type must be application/json")
        try:
            text = json_text(raw)
            return rules.InvalidRequest("the body nests too deeply") if nests_too_deeply(text) else json.loads(text)
        except ValueError:
            return rules.InvalidRequest("the body is not JSON")

    def process(self, endpoint: str, call: dict[str, Any], fields: dict[str, Any], body: Any, is_valid: bool) -> None:
        """Apply the faults, then the rules, and answer."""
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
                call["answer_code"] = code
                call["http_status"] = status = self.status_for(code)
                self.reply(code, content, status)

    def status_for(self, code: int) -> int:
        """HTTP status for an answer with this code."""
        return 200 if self.server.sandbox.behaviour.http_200_always else code

    def apply(self, endpoint: str, fields: dict[str, Any], body: Any, is_valid: bool) -> Reply:
        """Handle the call as GoEasy would; return code and content."""
        if isinstance(body, rules.InvalidRequest):
            return 400, str(body)
        if self.command == "POST" and not isinstance(body, dict):
            return 400, "the body must be a JSON object"
        if not is_valid:
            return 401, "Unauthorized"
        try:
            handle: Callable[[dict[str, Any]], Reply] = getattr(self.server.sandbox, endpoint)
            return handle(fields)
        except rules.InvalidRequest as error:
            return 400, str(error)

    def refuse(self, call: dict[str, Any], options: dict[str, Any]) -> None:
        """Answer with code, content and HTTP status of a “refuse” fault."""
        call["answer_code"] = code = int(options.get("code", 401))
        call["http_status"] = status = int(options.get("status", self.status_for(code)))
        self.reply(code, options.get("content", "Unauthorized"), status)

    def reply(self, code: int, content: object, status: int | None = None) -> None:
        """Answer with {"code", "content"}; the HTTP status is the code unless it is given."""
        text = json.dumps({"code": code, "content": content}, ensure_ascii=False, separators=(",", ":"))
        self.reply_raw(status or code, "application/json;charset=UTF-8", text.encode("utf-8", "surrogatepass"))

    def reply_raw(self, status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer with these bytes."""
        self.finish_call()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.finish_call()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def half(self, code: int, content: object) -> None:
        """Send half an answer and close the connection."""
        body = json.dumps({"code": code, "content": content}).encode()
        self.finish_call()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.drop()
