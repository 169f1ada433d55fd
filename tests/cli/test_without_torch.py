"""What works where there is no torch, and what names the extra that brings it, in one line, before any work."""

import json
import subprocess
import sys
from pathlib import Path

WORKS = """
sample words words
sample pixels shapes
sample notes tunes
prepare music --data tunes/chorales --out prepared
models
translate "A dog." --beam 2
translate "A dog." --temperature 1 --json
paint --count 1 --out painted
complete painted/1.png --count 1 --out completed
upscale shapes/test/star/01.png --out large.png
compose --seconds 1 --out piece.mid --out piece.wav --out piece.png --out piece.musicxml
continue piece.mid --seconds 1 --out longer.mid
harmonize tunes/melodies/ode.mid --out harmonized.mid
infill piece.mid --voice alto --out filled.mid
compose --model piano --seconds 1 --out piano.mid
continue piano.mid --model piano --seconds 1 --out longer.mid
look text "A dog." --out text.png
look picture painted/1.png --out picture.png
look piece piece.mid --out similarity.png
look piece piece.mid --step 3 --out arcs.png
look piece piano.mid --model piano --out arcs.png
demo
"""
NEEDS = {
    "train text --source words/train.en --target words/train.de": ('"triptych train"', "train"),
    "train image --data shapes": ('"triptych train"', "train"),
    "train music --data tunes/chorales": ('"triptych train"', "train"),
    "train music --data prepared": ('"triptych train"', "train"),
    "evaluate text --source none": ('"triptych evaluate text"', "eval"),
    "evaluate image --data none --engine plan": ('"triptych evaluate image"', "eval"),
    "evaluate music --data none": ('"triptych evaluate music"', "eval"),
    "look complexity --out c.png": ('"triptych look complexity"', "train"),
    "translate dog --dtype bfloat16": ("dtype bfloat16 and engine auto", "train"),
    "paint --device cuda --out out": ("the device cuda", "train"),
}
KINDS = {"Translator": "captions-en-de", "Painter": "fashion", "Composer": "chorales", "Pianist": "piano"}
CLASSES = {
    "triptych.Transformer": ("Transformer", "train"),
    "Composer.new()": ("a new model", "train"),
    "Pianist.new(('Bach',))": ("a new model", "train"),
    "Translator.new(pairs)": ("a new model", "train"),
    "Painter.new(Pictures(np.zeros((1, 8, 8, 1), np.uint8), None, ()))": ("a new model", "train"),
    "Composer.load('chorales').module()": ("training, changing or saving a model", "train"),
    "Composer.load('chorales').with_pattern(Full())": ("training, changing or saving a model", "train"),
    "Composer.load('chorales').save('saved')": ("training, changing or saving a model", "train"),
    "Composer.load('chorales', engine='torch')": ("dtype auto and engine torch", "train"),
    **{f"{kind}.fit(None, data[{kind}], held_out=None, **run)": ("training a model", "train") for kind in KINDS},
    **{f"{kind}.load({name!r}).evaluate(None)": ("measuring a model", "eval") for kind, name in KINDS.items()},
}
RUN = f"""
SMALL = {str(Path(__file__).parent / "small_examples.json")!r}
import json, shlex, sys
sys.modules["torch"] = None
from pathlib import Path
from triptych.cli.main import main
from triptych.studio import app
app.EXAMPLES = Path(SMALL)
for line in json.loads(sys.argv[1]):
    print("code", main(shlex.split(line)), line, file=sys.stderr, flush=True)
"""
CALL = """
import json, sys
sys.modules["torch"] = None
import triptych
import numpy as np
from triptych import Composer, Painter, Pianist, Translator
from triptych.image.files.pictures import Pictures
from triptych.music.performances.shards import Shards
from triptych.shape.pattern import Full
pairs = triptych.read_pairs("source.txt", "source.txt")
data = {Translator: pairs, Painter: None, Composer: None, Pianist: object.__new__(Shards)}
run = {"recipe": None, "out": "out"}
for line in json.loads(sys.argv[1]):
    try:
        eval(line)
    except triptych.UserError as error:
        print("error:", error, file=sys.stderr)
"""


def ran(code: str, lines: list[str], folder: Path) -> list[str]:
    """What the code, in a process without torch, does with the lines: the lines of standard error."""
    arguments = [sys.executable, "-c", code, json.dumps(lines)]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def expected(needs: dict[str, tuple[str, str]]) -> list[str]:
    return [
        f'error: expected torch for {what}, got none; pip install "triptych[{extra}]"' for what, extra in needs.values()
    ]


def test_what_generates_or_looks_works(tmp_path: Path) -> None:
    lines = WORKS.strip().splitlines()
    codes = [line for line in ran(RUN, lines, tmp_path) if line.startswith("code ")]
    assert codes == [f"code 0 {line}" for line in lines]


def test_a_verb_that_needs_torch_names_the_extra(tmp_path: Path) -> None:
    found = ran(RUN, list(NEEDS), tmp_path)
    assert found[::2] == expected(NEEDS)
    assert found[1::2] == [f"code 2 {line}" for line in NEEDS]
    assert not list(tmp_path.iterdir()), "nothing was done"


def test_so_does_a_class(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("A dog.\n")
    assert ran(CALL, list(CLASSES), tmp_path) == expected(CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["source.txt"]
