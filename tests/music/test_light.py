"""What reads, writes and holds music needs no torch."""

import subprocess
import sys

CODE = """
import sys, pkgutil
sys.modules["torch"] = None
from importlib import import_module
import triptych.music
names = [module.name for module in pkgutil.walk_packages(triptych.music.__path__, "triptych.music.")]
light = [name for name in names if name.split(".")[-1] not in ("composer", "pianist", "sampler")]
assert len(light) > 30
for name in light:
    import_module(name)
"""


def test_no_torch() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
