"""A model on disk: one folder with config.json, weights.safetensors, the codec's files and card.json.

The card names the sha256 of every other file and ends with its own, and a load verifies them. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.errors import UserError, closest, plain, printable
from triptych.extras import require
from triptych.shape.config import Config
from triptych.shape.files import holds, read_sealed, remove_folder, sealed, temporary_of, write_folder
from triptych.shape.plain import from_json, read_bounded
from triptych.shape.weights import Array, Weights, not_finite, read_weights, write_weights

CONFIG, WEIGHTS, CARD = "config.json", "weights.safetensors", "card.json"
# A training run's pointer to its checkpoints: {"best": folder, "last": folder}.
RUN = "run.json"
SHIPPED = Path(__file__).parent.parent / "weights"
HUB = "hf:"  # before the name of a model on the Hugging Face hub
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
MAX_FILES = 16  # of a model folder; a translator has three
MAX_CODEC, MAX_WEIGHTS = 2**23, 2**40  # bytes
MAX_ENTRIES = 10_000  # of a folder, that are compared with a mistyped name


@dataclass(frozen=True)
class Stored:
    """The content of a model folder: configuration, weights in their stored number format, the codec's files by name,
    and the card; and the folder.
    """

    config: Config
    weights: dict[str, Array]
    files: dict[str, bytes]
    card: dict[str, Any]
    folder: Path


def write_model(
    folder: str | Path,
    config: Config,
    weights: Weights,
    files: Mapping[str, bytes],
    card: Mapping[str, Any],
    mark: str | None = None,
) -> None:
    """Write the model folder at once, its weights in the number format of the arrays.

    A name in the card is left out: it was another folder's. A model in this folder is replaced if it is as it was
    written; anything else there is a `UserError`, because replacing it would delete it. mark: see `write_file`.
    """
    path = Path(folder)
    replaced = own_files(path)
    if os.path.lexists(path) and not replaced and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(
            f"expected a new folder or that of an unchanged model, got {path}, which holds other things; name another"
        )
    contents = {
        CONFIG: (json.dumps(config.to_dict(), indent=2) + "\n").encode(),
        WEIGHTS: write_weights(weights),
        **{name: files[name] for name in sorted(files)},
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    kept = {key: value for key, value in card.items() if key != "name"}
    parameters = sum(array.size for array in weights.values())
    contents[CARD] = sealed({**kept, "parameters": parameters, "sha256": digests})
    write_folder(path, contents, replaced=replaced, mark=mark)


def own_files(folder: Path, *, exactly: bool = True) -> list[str]:
    """The names of a model's files if the folder holds these, each as it was written, and, if `exactly`, nothing else;
    else none.
    """
    try:
        card = read_card(folder)
        digests = {**card["sha256"], CARD: hashlib.sha256((folder / CARD).read_bytes()).hexdigest()}
    except (UserError, OSError):
        return []
    return list(digests) if holds(folder, digests, exactly=exactly) else []


def remove_model(folder: Path, mark: str) -> None:
    """Remove a model folder that is as it was written; anything else stays. It goes under its temporary name first, so
    that a kill leaves nothing that looks like a damaged model. mark: see `write_file`.
    """
    if names := own_files(folder):
        leaving = folder.rename(temporary_of(folder, mark))
        if not remove_folder(leaving, names):  # something came into it in the meantime
            leaving.rename(folder)


def read_model(name: str | Path) -> Stored:
    """Read and verify the model of a name: see `locate`.

    Raises:
        UserError: nothing of that name, a file missing, a file that is not the one its card names, or weights that are
            not finite.
    """
    folder = locate(name)
    card = read_card(folder)
    if len(card["sha256"]) > MAX_FILES:
        raise UserError(f"expected at most {MAX_FILES} files in {folder / CARD}, got more; do not use this model")
    contents = {}
    for file, digest in card["sha256"].items():
        if Path(file).name != file:
            raise UserError(f"expected plain file names in {folder / CARD}, got {file!r}; do not use this model")
        if not _holds(folder, file):
            raise UserError(f"expected the file {file} in {folder}, found none; the copy is incomplete, take it anew")
        contents[file] = read_bounded(folder / file, MAX_WEIGHTS if file == WEIGHTS else MAX_CODEC)
        if hashlib.sha256(contents[file]).hexdigest() != digest:
            raise UserError(f"{folder / file} is not the file its card names (sha256 differs); take the model anew")
    for file in (CONFIG, WEIGHTS):
        if file not in contents:
            raise UserError(f"expected {file} among the files of {folder / CARD}; this is not a Triptych model")
    config = Config.from_dict(from_json(contents.pop(CONFIG), folder / CONFIG))
    try:
        weights = read_weights(contents.pop(WEIGHTS))
        if config.encoder_layers + config.decoder_layers + getattr(config.head, "layers", 0) > len(weights):
            raise ValueError(f"{len(weights)} tensors are too few for its layers")
    except ValueError as error:
        raise misfit(folder, error) from None
    if odd := not_finite(weights):
        raise UserError(f"expected finite weights in {folder}, got NaN or infinity in {odd}; take the model anew")
    return Stored(config, weights, contents, card, folder)


def misfit(folder: Path, error: Exception) -> UserError:
    """The mistake of weights that are not those of the configuration."""
    return UserError(f"the weights in {folder} do not fit its {CONFIG}: {' '.join(str(error).split())[:200]}")


def another_kind(what: str, name: str | Path, card: Mapping[str, Any]) -> UserError:
    """The error for a model of that name and card where `what` was expected."""
    domain = printable(str(card.get("domain", "another kind of model")), 150)
    return UserError(f"expected {what}, got {name} ({domain}); triptych models shows what there is")


def locate(name: str | Path) -> Path:
    """The folder of a model: of the shipped one of that name, of the best checkpoint of a run, or the folder itself;
    `hf:owner/name` is taken from the Hugging Face hub.

    A folder that is called like a shipped model is `./name`, or a `Path`.
    """
    if isinstance(name, str):
        if name.startswith(HUB):
            return _download(name.removeprefix(HUB))
        if name in ships():
            return SHIPPED / name
    path = Path(name)
    if name != "" and _holds(path, RUN):
        return checkpoint(path, "best")
    if name != "" and _holds(path, CARD):
        return path
    raise UserError(f"expected a shipped model, the folder of a model or a run, or {HUB}owner/name, {_missed(name)}")


def checkpoint(run: Path, which: str) -> Path:
    """The folder of a checkpoint of a run, "best" or "last". UserError where there is none, or it is not in the run."""
    return within(run, read_sealed(run / RUN).get(which), which)


def within(run: Path, relative: object, which: str) -> Path:
    """The folder of a run's checkpoint that `RUN` names: a path that does not lead out of the run, nor by a link."""
    if relative is None:
        raise UserError(f"the run {run} has no checkpoint yet; train longer, or resume it with --resume")
    if isinstance(relative, str) and "\0" not in relative and not Path(relative).is_absolute():
        folder = run / relative
        try:
            inside = ".." not in Path(relative).parts and folder.resolve().is_relative_to(run.resolve())
            inside = inside and folder.is_dir()
        except (OSError, RuntimeError):  # names too long for the system; links in a circle
            inside = False
        if inside:
            return folder
    raise UserError(
        f"expected {which!r} of {run / RUN} to be a folder in the run, got {relative!r}; the run is damaged"
    )


def ships() -> list[str]:
    """The names of the models that ship with this installation."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}"))


def shipped() -> list[dict[str, Any]]:
    """The cards of the models that ship with this installation, by name."""
    return [read_card(SHIPPED / name) for name in ships()]


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder, of which every text can be printed; `UserError` where there is none."""
    if not _holds(folder, CARD):
        raise UserError(f"expected a model folder with a {CARD}, got {folder}")
    card = read_sealed(folder / CARD)
    if not isinstance(card.get("sha256"), dict):
        raise UserError(f"expected {folder / CARD} to name the sha256 of each file; take the model anew")
    printed: dict[str, Any] = _printable({"name": folder.name, **card})
    return printed


def _printable(value: Any) -> Any:
    """A card's value without what a terminal would act on: models come from strangers too."""
    if isinstance(value, dict):
        return {plain(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def _holds(folder: Path, file: str) -> bool:
    """Whether the folder has that file. UserError where the system does not let us look."""
    try:
        return (folder / file).is_file()
    except OSError as error:
        raise UserError(f"expected a folder that can be read, got {folder}: {error.strerror}") from None


def _missed(name: str | Path) -> str:
    """The end of the error for a missing model: what is there instead, and the nearest name."""
    text, path = str(name), Path(name)
    found, names = ", which has no card.json or run.json", ships()
    if path.is_file():
        return f"got the file {text!r}; give the folder that it is in"
    if text and path.is_dir():
        inner = sorted(str(path / each) for each in _folders(path) if is_model(path / each))
        return f"got {text!r}{found}; " + (f"did you mean {inner[0]!r}?" if inner else f"shipped are: {_list(names)}")
    if near := closest(text.strip("/ "), names) or _near_folder(path):
        return f"got {text!r}; did you mean {near!r}?"
    if HUB_NAME.fullmatch(text) and not text.startswith("."):
        return f"got {text!r}; if it is on the Hugging Face hub, write {HUB}{text}"
    return f"got {text!r}; shipped are: {_list(names)}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _near_folder(path: Path) -> str | None:
    """The model whose path differs from that one by a slip in one or more of its parts."""
    found = Path(path.anchor)
    for part in path.parts[len(found.parts) :]:
        names = ["..", *_folders(found)]
        near = part if part in names else closest(part, names)
        if near is None:
            return None
        found /= near
    return str(found) if is_model(found) else None


def is_model(folder: Path) -> bool:
    """Whether a folder is that of a model or of a run."""
    return any((folder / file).is_file() for file in (RUN, CARD))


def _folders(path: Path) -> list[str]:
    """The names of the folders in a folder, of the first of them."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in itertools.islice(entries, MAX_ENTRIES) if entry.is_dir()]
    except (OSError, ValueError):
        return []


def _download(name: str) -> Path:
    if not HUB_NAME.fullmatch(name):
        raise UserError(f"expected {HUB}owner/name, got {HUB + name!r}; see the model's page on the Hugging Face hub")
    require("huggingface_hub", f"taking {name!r} from the hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "LICENSE"]))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"the hub did not give {name!r}: {reason}") from None
