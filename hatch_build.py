"""Build hook: compiles `src/triptych/decode/kernel.c`, where there is a C compiler, once for each level of processors.

Without one, or where the compiler fails, the package installs all the same and generates in numpy. As a script it
compiles in place: `python hatch_build.py`. An editable installation stays on this machine and compiles less: the level
of its processor, and the portable one for the case that the processor is another some day.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "src" / "triptych" / "decode"
SOURCE = FOLDER / "kernel.c"
FLAGS = ["-std=gnu11", "-O2", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC", "-pthread"]
# Levels of processors, the best first, and a macro that a compiler defines where it compiles for one.
LEVELS = {"avx512": ["-march=x86-64-v4"], "avx2": ["-march=x86-64-v3"], "portable": []}
MACROS = {"avx512": "__AVX512BW__", "avx2": "__AVX2__"}


def compile_kernel(extra: tuple[str, ...] = (), folder: Path = FOLDER, *, here: bool = False) -> list[Path]:
    """Compile what this machine's compiler can, all levels at a time, into a folder; on Windows nothing.

    here: only what this machine's processor is best served by, and the portable level.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or shutil.which("gcc") or ""]
    if not shutil.which(compiler[0]) or sys.platform == "win32":
        return []
    intel = sysconfig.get_platform().endswith(("x86_64", "amd64"))
    wanted = {_level_here(compiler), "portable"} if here else LEVELS
    running = {}
    for level, flags in LEVELS.items():
        library = folder / f"kernel_{level}.so"
        library.unlink(missing_ok=True)
        if level not in wanted or (flags and not intel):
            continue
        fresh = library.with_suffix(f".{os.getpid()}")  # a process that has the old one open keeps it
        command = [*compiler, *FLAGS, *flags, *extra, str(SOURCE), "-o", str(fresh), "-lm"]
        running[library] = fresh, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    found = []
    for library, (fresh, process) in running.items():
        _, message = process.communicate()
        if process.returncode:
            print(f"triptych: {library.stem} was not compiled: {message.strip()[-500:]}", file=sys.stderr)
            fresh.unlink(missing_ok=True)
        else:
            fresh.replace(library)
            found.append(library)
    return found


def _level_here(compiler: list[str]) -> str:
    """The best level that this machine's processor runs, by what its compiler knows of it."""
    command = [*compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull]
    known = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return next((level for level, macro in MACROS.items() if macro in known), "portable")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a script
    BuildHookInterface = object


class KernelHook(BuildHookInterface):  # type: ignore[misc]
    """Compiles before a wheel is built, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries to the wheel, which is then one of this platform."""
        if self.target_name != "wheel":
            return
        found = compile_kernel(here=version == "editable")
        if not found:
            print("triptych: no C compiler: this installation generates in numpy, more slowly", file=sys.stderr)
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"], build_data["tag"] = False, f"py3-none-{platform}"
        if version != "editable":
            build_data["force_include"].update({str(each): f"triptych/decode/{each.name}" for each in found})


if __name__ == "__main__":
    built = compile_kernel(tuple(sys.argv[1:]))
    print("\n".join(map(str, built)) or "no C compiler: nothing was built")
    sys.exit(0 if built else 1)
