"""What a command imports: what generates no torch, what does not draw no matplotlib, and help neither of them."""

import json
import subprocess
import sys
from pathlib import Path

# Of each command the slow packages that it may import.
COMMANDS = {
    "--help": [],
    "models": [],
    "translate dog --beam 2": [],
    "paint --count 1 --out painted": ["PIL"],
    "complete painted/1.png --count 1 --out completed": ["PIL"],
    "compose --seconds 1 --out piece.mid": [],
    "compose --seconds 1 --out piece.wav": [],
    "continue piece.mid --seconds 1 --out longer.musicxml": [],
    "infill piece.mid --voice alto --from 1 --to 1 --out filled.mid": [],
    "compose --seconds 1 --out piece.png": ["PIL", "matplotlib"],
    "look text dog --out attention.png": ["PIL", "matplotlib"],
}
SLOW = ("torch", "matplotlib", "PIL", "scipy", "sacrebleu", "tensorboard", "huggingface_hub")
RUN = """
import json, sys
from triptych.cli.main import main
code = main(sys.argv[2:])
print(json.dumps([code, [name for name in json.loads(sys.argv[1]) if name in sys.modules]]), file=sys.stderr)
"""


def test_a_command_imports_what_it_uses(tmp_path: Path) -> None:
    for command, packages in COMMANDS.items():
        arguments = [sys.executable, "-c", RUN, json.dumps(SLOW), *command.split()]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
        code, imported = json.loads(done.stderr.splitlines()[-1])
        assert code == 0 and sorted(imported) == packages, f"{command}: {done.stderr}"
