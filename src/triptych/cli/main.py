"""The command `triptych`: joins the verbs and turns a person's mistake into one line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import triptych
from triptych.cli.output import prepare_streams
from triptych.cli.verbs import compose, demo, evaluate, look, models, paint, prepare, sample, studio, train, translate
from triptych.errors import DivergedError, UserError, one_line

app = typer.Typer(
    name="triptych",
    help="One attention core, three panels: words, pixels, notes.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"triptych {triptych.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


for _verb in (demo.demo, translate.translate, paint.paint, paint.complete, paint.upscale, compose.compose):
    app.command()(_verb)
app.command("continue")(compose.continue_)
for _verb in (compose.accompany, compose.harmonize, compose.infill):
    app.command()(_verb)
for _room in (sample, prepare, train, evaluate, look):
    app.add_typer(_room.app)
app.command()(models.models)
app.command()(studio.studio)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, 1 for a diverged run, 2 for a person's mistake, 130 for an interruption."""
    prepare_streams()
    _wait_passively()
    try:
        code = app(list(arguments) if arguments is not None else None, prog_name="triptych", standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error))
    except typer.TyperException as error:
        from triptych.cli.mistakes import usage

        return _complain(usage(error))
    except BrokenPipeError:
        return _forget_output()
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _complain(f"{error.filename or 'cannot write'}: {error.strerror}")
    except DivergedError as error:
        return _complain(str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        return _complain("expected more memory than this device has; choose a smaller --beam, batch or model")
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return code if isinstance(code, int) else 0


def _wait_passively() -> None:
    """Let torch's threads sleep while they wait for each other, unless the environment sets it.

    GNU OpenMP spins some milliseconds at the end of every parallel product. Where another process holds a core, the
    thread that all wait for shares it with those that spin, and a product of microseconds takes milliseconds. OpenMP
    reads the variable once, when torch is imported: it is set before, in the command's own process alone.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _is_lack_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether an error is a failed allocation; torch's have no type of their own on a CPU."""
    return isinstance(error, MemoryError) or any(
        phrase in str(error) for phrase in ("can't allocate memory", "not enough memory", "out of memory")
    )


def _complain(message: str, code: int = 2) -> int:
    print("error: " + one_line(message), file=sys.stderr)
    return code


def _forget_output() -> int:
    """The reader has gone (`triptych ... | head`): point standard output at nothing, or the last flush complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


if __name__ == "__main__":
    sys.exit(main())
