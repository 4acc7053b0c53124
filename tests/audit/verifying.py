"""Helpers of the verifier's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str]]


def saved(path: Path, note: str) -> Path:
    path.write_text(note, encoding="utf-8", newline="")
    return path
