"""The frame of the command: help, versions, and mistakes in one line each."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import triptych
from triptych.cli import main as command_line
from triptych.errors import DivergedError, UserError

MEMORY = "expected more memory than this device has; choose a smaller --beam, batch or model"
VERBS = ("demo", "translate", "train", "evaluate", "models", "look")


def command(arguments: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "triptych.cli.main", *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_lists_the_verbs(run: Any) -> None:
    for arguments in (["--help"], ["-h"], []):
        ran = run(*arguments)
        assert ran.code == 0 and not ran.err
        assert all(verb in ran.out for verb in VERBS)


def test_version(run: Any) -> None:
    assert run("--version").out == f"triptych {triptych.__version__}\n"


def verbs() -> dict[str, Any]:
    """Every command without commands below it, by its name."""
    found: dict[str, Any] = {}
    waiting = [("", typer.main.get_command(command_line.app))]
    for name, verb in waiting:
        if commands := getattr(verb, "commands", None):
            waiting += [(f"{name} {inner}".strip(), one) for inner, one in commands.items()]
        else:
            found[name] = verb
    return found


def options_of(verb: Any) -> set[str]:
    return {option for parameter in verb.params for option in parameter.opts}


def test_every_verb_that_computes_takes_the_options_of_the_machine() -> None:
    """Of others they would change nothing."""
    assert len(verbs()) > 20
    for name, verb in verbs().items():
        computes = name.split()[0] not in ("models", "sample", "prepare")
        options = {"--device", "--threads", "--dtype"} & options_of(verb)
        assert "--json" in options_of(verb) and len(options) == 3 * computes, name


def test_an_interruption_while_the_command_is_read_is_silent() -> None:
    text = """
import signal, sys
from triptych.cli import entry

class Slow:  # Ctrl-C while the rest is imported
    def find_spec(self, name, path, target=None):
        if name == "triptych.cli.main":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Slow())
entry.main()
"""
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize(
    "name", ["translate", "paint", "complete", "upscale", "compose", "continue", "accompany", "harmonize", "infill"]
)
def test_every_verb_that_generates_takes_the_options_of_a_draw(name: str) -> None:
    required = {"--model", "--seed", "--temperature", "--top-k", "--top-p", "--min-p"}
    assert required <= options_of(verbs()[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translat"], "translate"),
        (["translate", "--bem", "3", "a"], "--beam"),
        (["translate", "--beam", "many", "a"], "--beam"),
        (["translate", "--dtype", "float8", "a"], "bfloat16"),
        (["look", "text"], "look text --help"),
        (["train"], "train --help"),
        (["train", "music"], "music"),
        (["translate", "--nbest", "6", "a"], "--nbest of at most --beam=5, got 6"),
    ],
)
def test_a_mistake_is_one_line(run: Any, arguments: list[str], message: str) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1 and ran.err.endswith("\n")
    assert message in ran.err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(command_line, "app", app)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("expected a\nhorse, got a cow"), 2, "error: expected a horse, got a cow\n"),
        (PermissionError(13, "Permission denied", "/run/x"), 2, "error: /run/x: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: cannot write: No space left on device\n"),
        (DivergedError("the loss is\nnot finite"), 1, "error: the loss is not finite\n"),
        (MemoryError(), 2, f"error: {MEMORY}\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, f"error: {MEMORY}\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str) -> None:
    failing(monkeypatch, error)
    ran = run()
    assert (ran.code, ran.out, ran.err) == (code, "", message)


@pytest.mark.parametrize("error", [AssertionError("ours"), RuntimeError("ours"), OSError("ours")])
def test_our_own_error_is_not_hidden(run: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error), match="ours"):
        run()


def test_as_a_process() -> None:
    done = command(["translate", "--nbest", "6", "a"])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    script = tmp_path / "reader.py"
    script.write_text("import sys; from triptych.cli.main import main; sys.exit(main(['--help']))")
    writer = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None and writer.stderr is not None
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() in (0, 1)
    writer.stderr.close()


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_sleep_while_they_wait(given: str | None, expected: str) -> None:
    """OpenMP's threads read this when torch is imported, which the verbs do after the command has begun."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    code = (
        "import os, sys; from triptych.cli.main import main; main(['models', '--json']); "
        "print(os.environ['OMP_WAIT_POLICY'], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | ({} if given is None else {"OMP_WAIT_POLICY": given}),
    )
    assert done.stderr.strip() == expected


def test_the_environment_of_a_program_that_has_torch_stays(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    run("--version")
    assert "OMP_WAIT_POLICY" not in os.environ
