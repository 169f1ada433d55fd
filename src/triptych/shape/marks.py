"""Marks in files that are written here, by which they are known again: nothing of a person's is overwritten."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from triptych.errors import UserError

MAX_BYTES = 2**30  # of a file that is looked at
IEND = 12  # bytes of the last chunk of a PNG


def marked(data: bytes, suffix: str) -> bytes:
    """The content of a file with the digest of all the rest, where readers of its format pass it over: in a PNG as a
    text, in MIDI and WAV as a chunk of another kind, in XML and PDF as a comment at the end.
    """
    text = b"triptych " + hashlib.sha256(data).hexdigest()[:32].encode()
    if suffix == ".png":
        chunk = b"tEXtSoftware\0" + text
        whole = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        return data[:-IEND] + whole + data[-IEND:]
    if suffix in (".mid", ".midi"):
        return data + b"XTri" + len(text).to_bytes(4, "big") + text
    if suffix == ".wav":
        more = b"trip" + len(text).to_bytes(4, "little") + text + bytes(len(text) % 2)
        return data[:4] + (len(data) + len(more) - 8).to_bytes(4, "little") + data[8:] + more
    return data + (b"%" + text + b"\n" if suffix == ".pdf" else b"<!-- " + text + b" -->\n")


def is_marked(path: Path) -> bool:
    """Whether a file is one that was marked, and nobody has changed it since."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    data, suffix = path.read_bytes(), path.suffix.lower()
    end = len(data) - IEND * (suffix == ".png")
    start = end - len(marked(bytes(64), suffix)) + 64
    plain = data[: max(0, start)] + data[end:]
    if suffix == ".wav":
        plain = plain[:4] + (len(plain) - 8).to_bytes(4, "little", signed=True) + plain[8:]
    return start > 0 and marked(plain, suffix) == data


def check_out(path: Path) -> None:
    """Raise UserError, before any work, where a file is none that was written here."""
    if path.exists() and not path.is_dir() and not is_marked(path):
        raise UserError(
            f"expected a new file, or one that was written here and not changed since, got {str(path)!r}; choose "
            "another --out, or move it"
        )
