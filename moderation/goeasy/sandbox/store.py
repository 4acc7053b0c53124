"""Messages and settings of the sandbox, in one SQLite file that survives a restart."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, timestamp INTEGER NOT NULL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS message_by_time ON message (conversation, timestamp);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def conversation_key(conversation: dict[str, Any]) -> str:
    """Key of {"kind": "private", "user_a", "user_b"}, the same in either order, or of {"kind": "group", "group_id"}."""
    if conversation["kind"] == "group":
        return json.dumps(["group", conversation["group_id"]])
    return json.dumps(["private", *sorted((conversation["user_a"], conversation["user_b"]))])


class Store:
    """Thread-safe store of messages by conversation and time."""

    def __init__(self, path: Path | str) -> None:
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(str(path), check_same_thread=False, isolation_level=None)
        # A power cut may lose the last second: the sandbox holds no evidence.
        self.connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {SCHEMA}")

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.connection.close()

    def clear(self) -> None:
        """Delete everything."""
        with self.lock:
            self.connection.executescript("DELETE FROM message; DELETE FROM setting;")

    def is_empty(self) -> bool:
        """Whether it has no messages."""
        with self.lock:
            return self.connection.execute("SELECT 1 FROM message LIMIT 1").fetchone() is None

    def setting(self, name: str, default: Any = None) -> Any:
        """Stored value of a setting."""
        with self.lock:
            row = self.connection.execute("SELECT value FROM setting WHERE name = ?", [name]).fetchone()
        return json.loads(row[0]) if row else default

    def set_setting(self, name: str, value: Any) -> None:
        """Store a setting."""
        with self.lock:
            self.connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", [name, json.dumps(value)])

    def add(self, conversation: dict[str, Any], messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Store messages, completed with the fields that GoEasy adds, and return them as history does.

        Raises ValueError for a timestamp that is not an integer: history could not sort it.
        """
        key = conversation_key(conversation)
        stored = [completed(conversation, message) for message in messages]
        if any(type(message["timestamp"]) is not int for message in stored):
            raise ValueError("a timestamp must be a whole number of milliseconds")
        with self.lock, self.connection:
            self.connection.execute("BEGIN")
            self.connection.executemany(
                "INSERT INTO message (conversation, timestamp, data) VALUES (?, ?, ?)",
                # As ASCII: JSON may contain a lone surrogate, which SQLite refuses.
                [(key, message["timestamp"], json.dumps(message)) for message in stored],
            )
        return stored

    def history(
        self,
        conversation: dict[str, Any],
        *,
        limit: int,
        before: int,
        keep: Callable[[dict[str, Any]], bool] = lambda _message: True,
    ) -> list[dict[str, Any]]:
        """The newest `limit` messages before `before` (ms, exclusive) that `keep` accepts, newest first."""
        with self.lock:
            rows = self.connection.execute(
                "SELECT data FROM message WHERE conversation = ? AND timestamp < ? ORDER BY timestamp DESC, id DESC",
                [conversation_key(conversation), before],
            )
            return list(islice(filter(keep, (json.loads(data) for (data,) in rows)), limit))

    def recall(
        self, conversation: dict[str, Any], timestamps: Sequence[int], recaller: dict[str, Any] | None
    ) -> list[dict[str, Any]]:
        """Mark every message at `timestamps` (ms) as recalled and return those that changed.

        A message that is already recalled keeps its recaller.
        """
        key, changed = conversation_key(conversation), []
        with self.lock, self.connection:
            self.connection.execute("BEGIN")
            for timestamp in timestamps:
                for row_id, text in self.connection.execute(
                    "SELECT id, data FROM message WHERE conversation = ? AND timestamp = ?", [key, timestamp]
                ).fetchall():
                    message = json.loads(text)
                    if message.get("recalled"):
                        continue
                    message["recalled"] = True
                    if recaller:
                        message["recaller"] = recaller
                    data = json.dumps(message)
                    self.connection.execute("UPDATE message SET data = ? WHERE id = ?", [data, row_id])
                    changed.append(message)
        return changed


def completed(conversation: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """`message` with an id, a time and a receiver where it has none."""
    full = {"messageId": uuid.uuid4().hex, "timestamp": time.time_ns() // 1_000_000, **message}
    if conversation["kind"] == "group":
        full.setdefault("groupId", conversation["group_id"])
    else:
        sides = {conversation["user_a"], conversation["user_b"]}
        full.setdefault("receiverId", next(iter(sides - {full.get("senderId")}), full.get("senderId")))
    return full
