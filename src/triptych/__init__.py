"""Triptych: one attention core, three panels: words, pixels, notes.

The public names are imported at first use, so that ``import triptych`` costs nothing and imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triptych.errors import UserError as UserError
    from triptych.generation.beam import beam_search as beam_search
    from triptych.generation.sample import generate as generate
    from triptych.image.files.pictures import read_pictures as read_pictures
    from triptych.image.painter import Painter as Painter
    from triptych.model.transformer import Transformer as Transformer
    from triptych.music.chorales.composer import Composer as Composer
    from triptych.music.files.save import save_music as save_music
    from triptych.music.performances.pianist import Pianist as Pianist
    from triptych.shape.config import Config as Config
    from triptych.text.data import read_pairs as read_pairs
    from triptych.text.translator import Translator as Translator
    from triptych.train.recipe import Recipe as Recipe

__version__ = "0.1.0"

_HOME = {
    "Composer": "triptych.music.chorales.composer",
    "Config": "triptych.shape.config",
    "Painter": "triptych.image.painter",
    "Pianist": "triptych.music.performances.pianist",
    "Recipe": "triptych.train.recipe",
    "Transformer": "triptych.model.transformer",
    "Translator": "triptych.text.translator",
    "UserError": "triptych.errors",
    "beam_search": "triptych.generation.beam",
    "generate": "triptych.generation.sample",
    "read_pairs": "triptych.text.data",
    "read_pictures": "triptych.image.files.pictures",
    "save_music": "triptych.music.files.save",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in, once."""
    if name not in _HOME:
        raise AttributeError(f"module 'triptych' has no attribute {name!r}")
    if name == "Transformer":
        import_module("triptych.extras").require("torch", name)
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
