"""README is what a newcomer reads first: every command and every example of it runs, in its order, as it is printed."""

import re
import shlex
import shutil
import subprocess
import tomllib
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


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(("target", "extras"), [("run", {"studio"}), ("train", {"studio", "train"}), ("test", {"dev"})])
def test_make_run_installs_no_torch(tmp_path: Path, target: str, extras: set[str]) -> None:
    house = Path(__file__).parent.parent
    packages = tomllib.loads((house / "pyproject.toml").read_text("utf-8"))["project"]
    asked = ["make", "--dry-run", target, f"VENV={tmp_path / 'new'}"]
    lines = subprocess.run(asked, cwd=house, capture_output=True, text=True, check=True).stdout.splitlines()
    installs = [shlex.split(line)[-1] for line in lines if " pip install " in line]
    assert all("--constraint constraints.txt" in line for line in lines if " pip install " in line)
    assert set(installs[-1].removeprefix(".[").removesuffix("]").split(",")) == extras
    assert not any(package.startswith("torch") for package in packages["dependencies"])
    assert packages["optional-dependencies"]["train"] == ["torch>=2.9"]
    assert extras <= packages["optional-dependencies"].keys()


def test_every_version_is_pinned() -> None:
    house = Path(__file__).parent.parent
    packages = tomllib.loads((house / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*packages["dependencies"], *(each for some in packages["optional-dependencies"].values() for each in some)]
    names = {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-") for each in asked} - {"triptych"}
    pinned = (house / "constraints.txt").read_text("utf-8").splitlines()
    assert names <= {line.split("==")[0].lower().replace("_", "-") for line in pinned if "==" in line}
