"""Copies of a model with another configuration, on which no trained weight depends, for further training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from triptych.errors import UserError
from triptych.model.heads.patch import PatchHead
from triptych.model.inputs.patches import PatchInput
from triptych.model.inputs.tokens import TokenInput
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.parts import Patches, Tokens
from triptych.shape.pattern import Local2D, Pattern

LABELS = "condition.label.weight"


def with_dropout(
    model: Transformer, probability: float | None = None, word_dropout: float | None = None
) -> Transformer:
    """A copy with another dropout, or another `input.word_dropout`."""
    config = model.config if probability is None else replace(model.config, dropout=probability)
    if word_dropout is not None:
        if not isinstance(config.input, Patches):
            raise UserError(
                f"expected a model of patches for input.word_dropout={word_dropout}, got one without; leave it out"
            )
        config = replace(config, input=replace(config.input, word_dropout=word_dropout))
    return _with(model, config)


def with_pattern(model: Transformer, pattern: Pattern | Mapping[str, Any]) -> Transformer:
    """A copy that attends by another pattern (or its table in `config.json`), on which no weight depends.

    Raises UserError where either is two-dimensional: that is also the order of the positions.
    """
    config = Config.from_dict({**model.config.to_dict(), "pattern": pattern})
    if config.pattern != model.config.pattern and Local2D in map(type, (config.pattern, model.config.pattern)):
        raise UserError(
            f"expected full or one-dimensional patterns, got {model.config.pattern} to be {config.pattern}; "
            "a two-dimensional one orders the positions, so the model must be trained anew"
        )
    return _with(model, config)


def with_keyboard(model: Transformer, layout: tuple[int, int, int]) -> Transformer:
    """A copy that reads the keyboard (`Tokens.keyboard`), whose features are zeros where it is new, so that the outputs
    stay. UserError where there is another, or the model reads no tokens.
    """
    settings = model.config.input
    if not isinstance(settings, Tokens) or settings.keyboard not in (None, layout):
        raise UserError(f"expected input tokens without another keyboard than {layout}, got {settings}")
    return _with(model, replace(model.config, input=replace(settings, keyboard=layout)), new=("input.keyboard.",))


def with_classes(model: Transformer, classes: int, *, seed: int = 1) -> Transformer:
    """A copy with further classes, untrained, behind those that there are. UserError for fewer of them."""
    known = model.config.classes
    if classes < known:
        raise UserError(f"expected at least the {known:,} classes of the model, got {classes:,}")
    torch.manual_seed(seed)
    copy = Transformer(replace(model.config, classes=classes)).to(model.device, model.dtype)
    ours, theirs = copy.condition.label, model.condition.label
    held = {name: value for name, value in model.state_dict().items() if name != LABELS}
    found = copy.load_state_dict(held, strict=False)
    assert not found.unexpected_keys and set(found.missing_keys) <= {LABELS}
    if ours is not None and theirs is not None:
        with torch.no_grad():
            ours.weight[:known] = theirs.weight
    return copy


def with_metre(model: Transformer, longest: int) -> Transformer:
    """A copy that reads the metre (`Positions.metre`), whose vectors are zeros where it is new: the outputs stay."""
    positions = replace(model.config.positions, metre=longest)
    return _with(model, replace(model.config, positions=positions), new=("condition.metre.",))


def with_encoder(model: Transformer, source_vocabulary: int, layers: int, *, seed: int = 1) -> Transformer:
    """A copy with an untrained encoder, for a source that is aligned (`Config.aligned`).

    The decoder can continue sequences already, and learns what the source adds (after Ramachandran et al. 2017, who
    pretrain both sides). Ids that both vocabularies have are read as the decoder reads them. UserError where there is
    an encoder.
    """
    if model.config.encoder_layers:
        raise UserError(
            f"expected a decoder alone to be given an encoder, got encoder_layers={model.config.encoder_layers}"
        )
    torch.manual_seed(seed)
    changed = {"source_vocabulary": source_vocabulary, "encoder_layers": layers, "aligned": True}
    copy = _with(model, Config.from_dict({**model.config.to_dict(), **changed}), new=("condition.",))
    reads, source = model.input, copy.condition.source
    shared, width = min(source_vocabulary, model.config.vocabulary), model.config.width
    with torch.no_grad():
        if isinstance(reads, TokenInput) and isinstance(source, TokenInput):
            source.embedding.weight[:shared] = reads.embedding.weight[:shared]
        if isinstance(reads, PatchInput) and isinstance(source, PatchInput):
            ours, theirs = (
                each.places.tokens.weight.view(-1, each.places.vocabulary, width) for each in (source, reads)
            )
            ours[:, :shared] = theirs[:, :shared]
            if source.places.repeats is not None and reads.places.repeats is not None:
                source.places.repeats.weight.copy_(reads.places.repeats.weight)
    return copy


def with_order(model: Transformer, places: Sequence[int]) -> Transformer:
    """A copy whose tokens follow each other in another order within a patch: what was at places[i] is at i.

    What is read of a patch stays as it is; which of its tokens each one depends on has to be learned. UserError for a
    model of a token a position.
    """
    copy = deepcopy(model)
    source = copy.condition.source
    if not isinstance(copy.input, PatchInput) or not isinstance(copy.head, PatchHead):
        raise UserError("expected a model with several tokens at a position to put them in order, got one; train anew")
    embeddings = [copy.input.places, copy.head.before]
    embeddings += [] if copy.head.repeats is None else [copy.head.repeats]
    embeddings += [source.places] if isinstance(source, PatchInput) else []
    tables = [table.weight for each in embeddings for table in (each.tokens, each.repeats) if table is not None]
    with torch.no_grad():
        for table in (*tables, copy.head.places.weight):
            rows = table.view(len(places), -1, table.size(1))
            table.copy_(rows[list(places)].flatten(0, 1))
    return copy


def _with(model: Transformer, config: Config, new: tuple[str, ...] = ()) -> Transformer:
    """A copy of another configuration; only what the names in `new` begin is not taken over."""
    copy = Transformer(config).to(model.device, model.dtype)
    found = copy.load_state_dict(model.state_dict(), strict=False)
    assert not found.unexpected_keys and all(name.startswith(new) for name in found.missing_keys)
    return copy
