"""A model on disk: one folder with config.json, weights.safetensors, the codec's files and card.json.

The card names the sha256 of every other file, and a load verifies them. Nothing is pickled.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from triptych.errors import UserError, printable
from triptych.model.config import Config
from triptych.model.device import use_device
from triptych.model.files import write_folder
from triptych.model.transformer import Transformer

CONFIG, WEIGHTS, CARD = "config.json", "weights.safetensors", "card.json"
# A training run's pointer to its checkpoints: {"best": folder, "last": folder}.
RUN = "run.json"
SHIPPED = Path(__file__).parent.parent / "weights"


@dataclass(frozen=True)
class Stored:
    """What a model folder holds: the model, in float32 unless asked for otherwise, the codec's files by name, the card,
    and where it was.
    """

    model: Transformer
    files: dict[str, bytes]
    card: dict[str, Any]
    folder: Path


def save_pretrained(
    folder: str | Path,
    model: Transformer,
    files: Mapping[str, bytes],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the model folder at once. `dtype` is that of the stored weights (float16 halves the folder).

    A name in the card is left out: it was another folder's. A model in this folder is replaced; anything else there is
    a `UserError`, because replacing it would delete it.
    """
    if (path := Path(folder)).exists() and not (path / CARD).is_file() and not _is_empty(path):
        raise UserError(f"expected a new folder or that of a model, got {path}, which holds other things; name another")
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    contents = {
        CONFIG: _json(model.config.to_dict()),
        WEIGHTS: save_tensors(tensors),
        **{name: files[name] for name in sorted(files)},
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    told = {key: value for key, value in card.items() if key != "name"}
    contents[CARD] = _json({**told, "parameters": sum(p.numel() for p in model.parameters()), "sha256": digests})
    write_folder(path, contents)


def load_pretrained(name: str | Path) -> Stored:
    """Load a shipped model by name, a model folder, a training run's best checkpoint, or a hub id (`owner/name`).

    Raises:
        UserError: nothing of that name, a file missing, or a file that is not the one its card names.
    """
    folder = locate(name)
    card = read_card(folder)
    contents = {}
    for file, digest in card["sha256"].items():
        if Path(file).name != file:
            raise UserError(f"expected plain file names in {folder / CARD}, got {file!r}; do not use this model")
        if not (folder / file).is_file():
            raise UserError(f"expected the file {file} in {folder}, found none; the copy is incomplete, take it anew")
        contents[file] = (folder / file).read_bytes()
        if hashlib.sha256(contents[file]).hexdigest() != digest:
            raise UserError(f"{folder / file} is not the file its card names (sha256 differs); take the model anew")
    for file in (CONFIG, WEIGHTS):
        if file not in contents:
            raise UserError(f"expected {file} among the files of {folder / CARD}; this is not a Triptych model")
    config = Config.from_dict(_parse(contents.pop(CONFIG), folder / CONFIG))
    model = _assembled(config, contents.pop(WEIGHTS), folder)
    return Stored(model.eval(), contents, card, folder)


def load_for(name: str | Path, file: str, what: str, *, device: str, threads: int | None, dtype: str) -> Stored:
    """Load a model of one kind, as its codec's `file` tells, on a device and in a number format (see `use_device`).

    Raises UserError as `load_pretrained`, and for another kind of model; what: "a translator".
    """
    where, number = use_device(device, threads, dtype)
    stored = load_pretrained(name)
    if file not in stored.files:
        raise another_kind(what, name, stored.card)
    return replace(stored, model=stored.model.to(where, number))


def another_kind(what: str, name: str | Path, card: Mapping[str, Any]) -> UserError:
    """What is wrong with a model, of that name and card, where `what` was expected."""
    told = printable(str(card.get("domain", "another kind of model")), 150)
    return UserError(f"expected {what}, got {name} ({told}); triptych models shows what there is")


def locate(name: str | Path) -> Path:
    """The folder of a model: a path, a run's best checkpoint, a shipped name, or a download from the hub."""
    path = Path(name)
    if (path / RUN).is_file():
        best = _parse((path / RUN).read_bytes(), path / RUN).get("best")
        if best is None:
            raise UserError(f"the run {path} has no checkpoint yet; train longer, or resume it with --resume")
        return path / str(best)
    if path.is_dir():
        return path
    if (SHIPPED / path.name / CARD).is_file() and path.name == str(name):
        return SHIPPED / path.name
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        return _download(str(name))
    names = [card["name"] for card in shipped()]
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"shipped are: {', '.join(names) or 'none'}"
    raise UserError(f"expected a shipped model, a folder or a hub id, got {str(name)!r}; {hint}")


def shipped() -> list[dict[str, Any]]:
    """The cards of the models that ship with this installation, by name."""
    return [read_card(path.parent) for path in sorted(SHIPPED.glob(f"*/{CARD}"))]


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder; `UserError` where there is none."""
    if not (folder / CARD).is_file():
        raise UserError(f"expected a model folder with a {CARD}, got {folder}")
    card = _parse((folder / CARD).read_bytes(), folder / CARD)
    if not isinstance(card.get("sha256"), dict):
        raise UserError(f"expected {folder / CARD} to name the sha256 of each file; take the model anew")
    return {"name": folder.name, **card}


def _assembled(config: Config, data: bytes, folder: Path) -> Transformer:
    """The model with its weights. No memory is taken for a shape that the weights do not have."""
    try:
        tensors = load_tensors(data)
        if config.encoder_layers + config.decoder_layers > len(tensors):
            raise RuntimeError(f"{len(tensors)} tensors are too few for its layers")
        with torch.device("meta"):
            model = Transformer(config)
        model.load_state_dict({key: value.float().clone() for key, value in tensors.items()}, assign=True)
    except (SafetensorError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the weights in {folder} do not fit its config.json: {reason}") from None
    return model


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _download(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise UserError(f"to take {name!r} from the hub, install it with: pip install 'triptych[hub]'") from None
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model"]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"no folder {name!r} here, and the hub did not give it: {reason}") from None


def _json(value: object) -> bytes:
    # A card may come from TOML, which knows dates: they become text.
    return (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode()


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f"expected a JSON object in {path}; the file is damaged, take it anew")
    return value
