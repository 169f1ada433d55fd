"""Log-probabilities of heads, token by token, equal those of their modules in torch."""

from typing import Any

import numpy as np
import pytest
import torch

from triptych.decode.history import History
from triptych.decode.plan import plan_of
from triptych.decode.steps.heads import HEADS, MixtureSteps, Stepping
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied

ROWS = 3
SHAPE: dict[str, Any] = {"width": 8, "heads": 2, "encoder_layers": 0, "decoder_layers": 1, "feed_forward": 8}
CONFIGS = {
    "tied": Config(20, **SHAPE),
    "patch": Config(20, norm="pre", input=Patches(3, 4), head=PatchNetwork(2, 12), **SHAPE),
    "post-norm patch": Config(20, norm="post", input=Patches(3), head=PatchNetwork(1, 12), **SHAPE),
    "mixture": Config(256, input=Pixels(3), head=Mixture(4), positions=Positions("sinusoidal_2d", 2), **SHAPE),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_steps_equal_those_of_the_module(name: str) -> None:
    torch.manual_seed(0)
    config = CONFIGS[name]
    model = Transformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.3)
    head = plan_of(config, {key: value.numpy() for key, value in model.state_dict().items()}).head
    size, random = config.input.size, np.random.default_rng(1)
    history = History(ROWS, 4 * size, size)
    for _ in range(4):
        hidden = random.standard_normal((ROWS, config.width)).astype(np.float32)
        begun = head.begin(hidden, history)
        with torch.no_grad():
            theirs = model.head.begin(torch.from_numpy(hidden)[:, None], history)
        for _ in range(size):
            with torch.no_grad():
                expected = model.head.step(theirs, history).numpy()
            found, likely = head.step(begun, history), expected > np.log(1e-6)
            np.testing.assert_allclose(found[likely], expected[likely], atol=2e-3 if name == "mixture" else 1e-5)
            history.append(random.integers(0, config.vocabulary, ROWS))


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_are_those_of_the_parameters(name: str) -> None:
    config = CONFIGS[name]
    expected = {key: tuple(each.shape) for key, each in Transformer(config).head.named_parameters()}
    assert HEADS[type(config.head)].shapes(config) == expected


def test_who_draws() -> None:
    assert MixtureSteps.draws and not HEADS[Tied].draws
    with pytest.raises(NotImplementedError):
        Stepping().draw(None, History(1, 1), np.zeros(1))
