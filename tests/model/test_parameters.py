from typing import Any

import pytest
import torch

from triptych.image.codec import HOLE, LEVELS, PictureCodec
from triptych.image.presets import shaped
from triptych.model.parameters import smooth_start
from triptych.model.transformer import Transformer


@pytest.mark.parametrize("changes", [{}, {"cell": [1, 1]}])
def test_like_intensities_begin_alike(changes: dict[str, Any]) -> None:
    config, _ = shaped("small", "complete", PictureCodec(32, 32, 3), changes)
    torch.manual_seed(0)
    model = Transformer(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    smooth_start(model)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(
        "embedding" in name or ".tokens." in name or name == "head.output.weight" for name in changed
    )
    for name in changed:
        tables = model.state_dict()[name]
        whole = tables.view(-1, HOLE + 1 if name.startswith("condition.source") else LEVELS, config.width)
        table = whole[:, :LEVELS]
        assert float(table.var()) == pytest.approx(1 / config.width, rel=0.1), "as large as before"
        beside = torch.nn.functional.cosine_similarity(table[:, 1:], table[:, :-1], -1)
        apart = torch.nn.functional.cosine_similarity(table[:, 128:], table[:, :128], -1)
        assert float(beside.mean()) > 0.8 and float(apart.abs().mean()) < 0.3
        if len(whole) > 1:
            assert not torch.equal(table[0], table[1])
