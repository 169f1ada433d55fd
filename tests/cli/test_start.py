"""What a command imports: of torch no more than `import torch` itself, whose time nobody can save."""

import subprocess
import sys
from pathlib import Path

COMMANDS = """
models
translate A_dog. --beam 2
paint --count 1 --out pictures
compose --seconds 4 --out piece.mid
evaluate text --source source.txt --target target.txt
look text A_dog. --out attention.png
"""

CHECK = """
import sys, torch
before = set(sys.modules)
from triptych.cli.main import main
for line in {commands!r}.strip().splitlines():
    code = main([word.replace("_", " ") for word in line.split()])
    new = [name for name in set(sys.modules) - before if name.split(".")[0] in ("torch", "sympy", "functorch")]
    print(line.split()[0], code, sorted(new)[:5])
"""


def test_no_command_imports_more_of_torch_than_torch_does(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("A dog.\n")
    (tmp_path / "target.txt").write_text("Ein Hund.\n")
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(commands=COMMANDS)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    report = [line for line in done.stdout.splitlines() if line.endswith("]")]
    assert len(report) == len(COMMANDS.split("\n")) - 2
    assert [line for line in report if not line.endswith(" 0 []")] == [], done.stderr
