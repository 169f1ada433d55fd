"""What can be imported, and done, where there is no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

import triptych

# Where torch may be imported with the module, by rooms and modules; and which modules of these rooms do without.
TORCH = (
    "triptych.attention",
    "triptych.look.complexity",
    "triptych.look.complexity_picture",
    "triptych.look.layers",
    "triptych.look.measure",
    "triptych.model",
    "triptych.train",
)
WITHOUT = {
    "triptych.model.batch",
    "triptych.model.device",
    "triptych.train.run.inputs",
    "triptych.train.run.lock",
    "triptych.train.run.package",
    "triptych.train.recipe",
    "triptych.train.signals",
}
SOURCE = Path(triptych.__file__).parent
MODULES = [
    name
    for file in sorted(SOURCE.rglob("*.py"))
    if (name := ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts)) in WITHOUT
    or not any(name == place or name.startswith(f"{place}.") for place in TORCH)
]
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
    assert len(MODULES) > 100
    without_torch("".join(f"import {module}\n" for module in MODULES))


@pytest.mark.parametrize("code", USES.values(), ids=USES)
def test_it_works_without_torch(code: str) -> None:
    without_torch(code)
