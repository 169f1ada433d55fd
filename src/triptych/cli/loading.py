"""A model for a verb. Terms narrower than the code's licence are told at the model's first use on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.output import say

if TYPE_CHECKING:
    from triptych.text.translator import Translator


def load_translator(model: str, device: str, threads: int | None, dtype: str) -> Translator:
    """The translator of that name, its terms told."""
    from triptych.text.translator import Translator

    translator = Translator.load(model, device=device, threads=threads, dtype=dtype)
    tell_terms(translator.card)
    return translator


def tell_terms(card: Mapping[str, Any]) -> None:
    """Say the card's `notice`, if it has one and this machine has not seen it. A read-only home says it every time."""
    notice = card.get("notice")
    if not notice:
        return
    seen = _folder() / f"{Path(str(card.get('name', 'model'))).name}.seen"
    if seen.is_file() and seen.read_text("utf-8") == notice:
        return
    say(f"note: {notice}")
    try:
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.write_text(str(notice), "utf-8")
    except OSError:
        return


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "triptych"
