"""Convert models and runs that were written before inputs, heads and relations had settings of their own.

    python recipes/convert.py FOLDER ...

A folder is that of a model, or of a run with its checkpoints and its resume state: configurations, names of weights and
of optimizer state, and digests are rewritten in place; nothing else changes, and what is new already is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from triptych.shape.files import sealed

BLANK = "0" * 64  # in the place of the digest that a resume state has of itself
NAMES: list[tuple[str, str]] = [
    (r"^reader\.tokens\.", "input.places.tokens."),
    (r"^reader\.runs\.", "input.places.repeats."),
    (r"^above\.tokens\.", "input.above.tokens."),
    (r"^keyboard\.", "input.keyboard."),
    (r"^writer\.recall\.tokens\.", "head.repeats.tokens."),
    (r"^writer\.recall\.runs\.", "head.repeats.repeats."),
    (r"^writer\.", "head."),
    (r"^source_embedding\.", "condition.source.embedding."),
    (r"^source_reader\.tokens\.", "condition.source.places.tokens."),
    (r"^source_reader\.runs\.", "condition.source.places.repeats."),
    (r"^source_position\.", "condition.position."),
    (r"^label_embedding\.", "condition.label."),
    (r"^encoder\.", "condition.encoder."),
    (r"^encoder_norm\.", "condition.norm."),
]
TABLES = {"distances": "distance", "intervals": "pitch", "steps": "time"}  # of relations


def new_config(old: dict[str, Any]) -> dict[str, Any]:
    """The configuration with an input and a head in place of a patch, and relations by kind in place of one."""
    config = dict(old) if "input" in old else with_parts(old)
    relation = config.pop("relation") or {}
    far, found = relation.get("far", "clip"), {}
    if relation.get("distances"):
        found["distance"] = {"size": relation["distances"], "far": far}
    if relation.get("intervals"):
        found["pitch"] = {"size": relation["intervals"]}
    if relation.get("steps"):
        found["time"] = {"size": relation["steps"], "far": far, "unit": config["positions"]["grid"][0]}
    return {**config, "relations": found}


def with_parts(old: dict[str, Any]) -> dict[str, Any]:
    """The configuration with an input and a head in place of a patch."""
    config = {key: value for key, value in old.items() if key != "patch"}
    patch, positions = old.get("patch"), config["positions"]
    keyboard = positions.pop("keyboard", None)
    for each in (positions, positions.get("source") or {}):
        each.pop("keyboard", None)
        if each and each["kind"] not in ("learned", "sinusoidal_2d"):
            each["length"] = None
    if patch is None:
        parts = {"kind": "tokens", "keyboard": keyboard}, {"kind": "tied"}
    elif patch.get("logistics"):
        assert not patch.get("recall"), "pixels have no repeat features"
        parts = {"kind": "pixels", "channels": patch["size"]}, {"kind": "mixture", "components": patch["logistics"]}
    else:
        reads = {"repeat_features": patch.get("recall", 0), "word_dropout": patch.get("forget", 0.0)}
        parts = (
            {"kind": "patches", "size": patch["size"], **reads},
            {"kind": "patch", "layers": patch["layers"], "feed_forward": patch["feed_forward"]},
        )
    return {**config, "input": parts[0], "head": parts[1]}


def new_name(name: str, config: dict[str, Any]) -> str | None:
    """The name of a parameter; None of an embedding that nobody reads."""
    if name == "embedding.weight":
        return {"tied": "input.embedding.weight", "patch": "head.output.weight"}.get(config["head"]["kind"])
    for pattern, better in NAMES:
        if re.match(pattern, name):
            name = re.sub(pattern, better, name)
            break
    return re.sub(r"\.attention\.(\w+)$", lambda found: f".attention.relations.{TABLES[found[1]]}", name)


def renamed(data: bytes, config: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file under their new names, each after what the pattern `prefix` finds before it."""
    found = {}
    for name, tensor in load(data).items():
        before = match.group(0) if (match := re.match(prefix, name)) else ""
        better = new_name(name.removeprefix(before), config)
        if better is not None:
            found[before + better] = tensor
    return found


def convert_model(folder: Path) -> dict[str, Any] | None:
    """Rewrite the folder of a model; its new configuration, or None if it was new already."""
    path = folder / "config.json"
    old = json.loads(path.read_bytes())
    if "relations" in old:
        return None
    config = new_config(old)
    weights = renamed((folder / "weights.safetensors").read_bytes(), config)
    contents = {"config.json": text(config), "weights.safetensors": save(weights)}
    card = json.loads((folder / "card.json").read_bytes())
    card["parameters"] = sum(tensor.numel() for tensor in weights.values())
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        card["sha256"][name] = hashlib.sha256(data).hexdigest()
    (folder / "card.json").write_bytes(sealed(card))
    return config


def convert_run(folder: Path) -> None:
    """Rewrite the checkpoints of a run and its resume state."""
    config = None
    for checkpoint in sorted((folder / "checkpoints").iterdir()):
        if (checkpoint / "config.json").is_file():
            config = convert_model(checkpoint) or config
    path = folder / "resume.safetensors"
    if config is None or not path.is_file():
        return
    data = path.read_bytes()
    meta = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tensors = renamed(data, config, r"(model|average)\.|optimizer\.\w+\.\w+\.")
    data = save(tensors, {**meta, "sha256": BLANK})
    at = data.index(BLANK.encode())
    path.write_bytes(data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(BLANK) :])


def text(value: object) -> bytes:
    """JSON as model folders have it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def main() -> None:
    """Convert the folders of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    for folder in parser.parse_args().folders:
        if (folder / "checkpoints").is_dir():
            convert_run(folder)
        else:
            convert_model(folder)
        print(f"converted {folder}")


if __name__ == "__main__":
    main()
