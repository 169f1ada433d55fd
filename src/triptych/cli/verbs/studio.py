"""`triptych studio`: the three panels live in a browser, and the JSON API behind them."""

from __future__ import annotations

import socket
import sys
import threading
import webbrowser
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.output import answer
from triptych.errors import UserError
from triptych.extras import require


@options.grouped
def studio(
    *,
    host: Annotated[
        str,
        typer.Option("--host", metavar="NAME", help="Address to listen on; another than this opens it to the network."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="N", help="0: any that is free.")] = 8765,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="NAME", help="A folder of a model or run, beside those that ship; again: more."
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
    machine: options.Machine,
) -> None:
    """Open the studio: translate, paint and compose in a browser, and look inside; Ctrl-C ends it."""
    if machine.device not in ("auto", "cpu") or machine.dtype != "auto":
        given = f"--device {machine.device} --dtype {machine.dtype}"
        raise UserError(f"expected the studio on the CPU with the models' own numbers, got {given}; leave them out")
    for package in ("starlette", "uvicorn"):
        require(package, "the studio")
    from triptych.studio.app import Studio, serve

    made = Studio(model or (), threads=machine.threads or 1)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"expected an address to listen on, got {host}, port {port}: {reason}; try --port") from None
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}/"
    answer({"address": address}, [f"the studio is at {address} (Ctrl-C ends it)"], as_json=machine.json)
    sys.stdout.flush()
    if not no_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    serve(made, listening, host)
