"""Which modules can be imported where there is no torch."""

import subprocess
import sys

MODULES = (
    "triptych.decode.history",
    "triptych.decode.inputs",
    "triptych.decode.keyboard",
    "triptych.generation",
    "triptych.image.codec",
    "triptych.image.data",
    "triptych.image.files",
    "triptych.image.folders",
    "triptych.image.masks",
    "triptych.image.presets",
    "triptych.image.score",
    "triptych.image.shapes",
    "triptych.image.sheet",
    "triptych.look.arcs",
    "triptych.look.heat",
    "triptych.look.patches",
    "triptych.look.pixels",
    "triptych.look.similarity",
    "triptych.text.codec",
    "triptych.text.data",
    "triptych.text.files",
    "triptych.text.numbers",
    "triptych.text.score",
    "triptych.text.segmentation",
    "triptych.text.split",
)


def test_these_import_without_torch() -> None:
    code = (
        "import sys, importlib; sys.modules['torch'] = None; [importlib.import_module(name) for name in sys.argv[1:]]"
    )
    done = subprocess.run([sys.executable, "-c", code, *MODULES], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
