"""README is what a newcomer reads first: every command and every example of it runs, in its order, as it is printed."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from triptych.cli.main import main

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[list[str], str]]:
    """Arguments of each line `$ triptych ...`, and what is printed below it."""
    found: list[tuple[list[str], str]] = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((shlex.split(line[2:], comments=True), ""))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def test_every_command_and_example_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ran, names = 0, dict[str, Any]()
    for language, block in FENCE.findall(README):
        if language == "python":
            exec(compile(block, "README.md", "exec"), names)
            ran += 1
        for arguments, printed in commands(block) if not language else ():
            assert arguments[0] == "triptych"
            capsys.readouterr()
            code = main(arguments[1:])
            streams = capsys.readouterr()
            assert code == 0, f"{shlex.join(arguments)}: {streams.err}"
            assert not printed or streams.out == printed, shlex.join(arguments)
            ran += 1
    assert ran > 20
    assert {path.name for path in tmp_path.iterdir()} == {"out"}, "all of it is written into one folder"


def test_the_folder_of_its_outputs_is_ignored() -> None:
    ignored = (Path(__file__).parent.parent / ".gitignore").read_text("utf-8").splitlines()
    assert "/out/" in ignored


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links and all((Path(__file__).parent.parent / link).is_file() for link in links if "://" not in link)


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_test_looks_at_our_folders_alone(tmp_path: Path) -> None:
    """A person's own script in the clone is no reason to stop."""
    house = Path(__file__).parent.parent
    done = subprocess.run(
        ["make", "--dry-run", "test", f"VENV={tmp_path}"], cwd=house, capture_output=True, text=True, check=True
    )
    folders = {"src", "tests", "benchmarks"}
    checks = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith(f"{tmp_path}/bin/")]
    checks = [words for words in checks if Path(words[0]).name in ("ruff", "mypy", "pytest")]
    assert len(checks) == 4
    for words in checks:
        looked = {word for word in words[1:] if not word.startswith("-") and word not in ("format", "check")}
        assert looked and looked <= folders, shlex.join(words)
