"""What can be imported, and done, where there is no torch."""

import subprocess
import sys

import pytest

MODULES = (
    "triptych.decode.history",
    "triptych.decode.inputs",
    "triptych.decode.keyboard",
    "triptych.decode.maps",
    "triptych.generation.ngrams",
    "triptych.image.codec",
    "triptych.image.data",
    "triptych.image.files",
    "triptych.image.folders",
    "triptych.image.masks",
    "triptych.image.painter",
    "triptych.image.presets",
    "triptych.image.score",
    "triptych.image.shapes",
    "triptych.image.sheet",
    "triptych.look.arcs",
    "triptych.look.attention",
    "triptych.look.heat",
    "triptych.look.patches",
    "triptych.look.pixels",
    "triptych.look.similarity",
    "triptych.model.device",
    "triptych.music.batches",
    "triptych.music.chorales.augmentation",
    "triptych.music.chorales.codec",
    "triptych.music.chorales.composer",
    "triptych.music.chorales.data",
    "triptych.music.chorales.distillation",
    "triptych.music.chorales.given",
    "triptych.music.chorales.grammar",
    "triptych.music.chorales.labels",
    "triptych.music.chorales.presets",
    "triptych.music.chorales.sampler",
    "triptych.music.chorales.score",
    "triptych.music.files.folder",
    "triptych.music.files.hands",
    "triptych.music.files.midi",
    "triptych.music.files.notation",
    "triptych.music.files.parsing.answer",
    "triptych.music.files.parsing.found",
    "triptych.music.files.parsing.midi",
    "triptych.music.files.parsing.musicxml",
    "triptych.music.files.parsing.process",
    "triptych.music.files.reading",
    "triptych.music.files.roll",
    "triptych.music.files.save",
    "triptych.music.files.sound",
    "triptych.music.files.spelling",
    "triptych.music.files.staves",
    "triptych.music.performances.codec",
    "triptych.music.performances.data",
    "triptych.music.performances.grammar",
    "triptych.music.performances.melody",
    "triptych.music.performances.pianist",
    "triptych.music.performances.presets",
    "triptych.music.performances.shards",
    "triptych.music.piece.bars",
    "triptych.music.piece.instruments",
    "triptych.music.piece.key",
    "triptych.music.piece.metre",
    "triptych.music.piece.metre_table",
    "triptych.music.piece.performance",
    "triptych.music.piece.piece",
    "triptych.music.piece.setting",
    "triptych.music.piece.transcription",
    "triptych.music.piece.tunes",
    "triptych.music.piece.upbeat",
    "triptych.shape.bounds",
    "triptych.shape.config",
    "triptych.shape.files",
    "triptych.shape.parts",
    "triptych.shape.pattern",
    "triptych.shape.plain",
    "triptych.shape.store",
    "triptych.shape.weights",
    "triptych.text.alignment",
    "triptych.text.codec",
    "triptych.text.data",
    "triptych.text.files",
    "triptych.text.numbers",
    "triptych.text.score",
    "triptych.text.segmentation",
    "triptych.text.sources",
    "triptych.text.split",
    "triptych.text.translator",
    "triptych.train.package",
    "triptych.train.recipe",
    "triptych.trained",
)
USES = {
    "listing and reading models": """
from triptych.shape.store import read_model, shipped
assert all(read_model(card["name"]).weights for card in shipped())
""",
    "loading each model as what it is": """
import triptych
from triptych.shape.store import shipped
kinds = {
    "tokenizer.model": triptych.Translator,
    "picture.json": triptych.Painter,
    "chorale.json": triptych.Composer,
    "performance.json": triptych.Pianist,
}
for card in shipped():
    (kind,) = [kind for file, kind in kinds.items() if file in card["sha256"]]
    product = kind.load(card["name"])
    assert product.card == card and product.config.vocabulary and product.codec
""",
    "triptych models": """
from triptych.cli.main import main
assert main(["models"]) == 0
""",
}


def without_torch(code: str) -> None:
    """Run the code in a process in which torch cannot be imported."""
    blocked = f"import sys\nsys.modules['torch'] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", blocked], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_these_import_without_torch() -> None:
    without_torch("".join(f"import {module}\n" for module in MODULES))


@pytest.mark.parametrize("code", USES.values(), ids=USES)
def test_it_works_without_torch(code: str) -> None:
    without_torch(code)
