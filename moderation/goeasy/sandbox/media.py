"""Small attachments for the sandbox's messages, generated on request."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import wave
import zlib


def serve(name: str) -> tuple[int, str, bytes]:
    """HTTP status, content type and body of the attachment `name`, which alone determines the content."""
    match name.rpartition(".")[2]:
        case "png":
            return 200, "image/png", png(name)
        case "wav":
            return 200, "audio/wav", wav()
        case "pdf" | "txt" | "zip":
            return 200, "text/plain; charset=utf-8", f"{name}\n".encode()
    return 404, "application/json", b'{"code":404,"content":"Not Found"}'


def png(name: str, width: int = 320, height: int = 200) -> bytes:
    """A picture of stripes in colours derived from the name."""
    seed = hashlib.sha256(name.encode()).digest()
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # no filter
        for x in range(width):
            rows += bytes(
                (seed[channel] + (x * seed[3 + channel] + y * seed[6 + channel]) // 400) % 256 for channel in range(3)
            )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    )


def wav(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """A short quiet tone."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(rate)
        sound.writeframes(bytes(128 + int(40 * math.sin(tick / 9)) for tick in range(int(seconds * rate))))
    return buffer.getvalue()
