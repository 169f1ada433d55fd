"""Packages that not all work needs, and the extra of Triptych that installs each."""

from __future__ import annotations

from importlib.util import find_spec

from triptych.errors import UserError

EXTRAS = {
    "torch": "train", "sacrebleu": "eval", "sacremoses": "eval", "verovio": "score", "huggingface_hub": "hub",
    "starlette": "studio", "uvicorn": "studio",
}  # fmt: skip


def require(package: str, what: str, extra: str | None = None) -> None:
    """Raise UserError where a package that `what` needs is not installed. extra: to install instead of the smallest."""
    if find_spec(package) is None:
        extra = extra or EXTRAS[package]
        raise UserError(f'expected {package} for {what}, got none; pip install "triptych[{extra}]"')
