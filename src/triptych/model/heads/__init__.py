"""Heads: how the decoder's output becomes a distribution of tokens. One module a kind."""

from __future__ import annotations

from typing import Any

from triptych.model.heads.base import Head
from triptych.model.heads.mixture import MixtureHead
from triptych.model.heads.patch import PatchHead
from triptych.model.heads.tied import TiedHead
from triptych.model.inputs.base import Input
from triptych.shape.config import Config
from triptych.shape.parts import Mixture, PatchNetwork, Tied

MODULES: dict[type[Any], type[Any]] = {Tied: TiedHead, PatchNetwork: PatchHead, Mixture: MixtureHead}


def head_of(config: Config, source: Input) -> Head:
    """The head of a configuration, untrained, over the input of its model."""
    found: Head = MODULES[type(config.head)](config.head, config, source)
    return found
