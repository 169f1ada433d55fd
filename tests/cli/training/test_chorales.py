import pytest
import torch

from triptych.cli.training.chorales import Teaching, dtype_of_teachers
from triptych.errors import UserError
from triptych.music.chorales.composer import Composer
from triptych.train import precision
from triptych.train.recipe import Recipe
from triptych.train.run.state import Progress, State


def test_composed_pieces_and_a_share_need_teachers() -> None:
    assert Teaching(("chorales",), 3, 0.5).composed == 3
    for wrong in ({"composed": 3}, {"share": 0.5}, {"composed": -1}, {"teachers": ("a",), "share": 1.5}):
        with pytest.raises(UserError, match=r"expected data\."):
            Teaching(**wrong)  # type: ignore[arg-type]


def test_teachers_compute_by_the_recipe_and_as_before_where_a_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = Composer.new(device="cpu", width=8, heads=2, feed_forward=8, decoder_layers=1).module()
    for cost, faster in ((0.5, torch.bfloat16), (1.5, torch.float32)):
        monkeypatch.setattr(precision, "cost_of_bfloat16", lambda device, cost=cost: cost)
        assert dtype_of_teachers(teacher, Recipe(epochs=1), None) == faster
        assert dtype_of_teachers(teacher, Recipe(epochs=1, dtype="float32"), None) == torch.float32
        assert dtype_of_teachers(teacher, Recipe(epochs=1, dtype="bfloat16"), None) == torch.bfloat16
        resumed = State(Progress(orthogonal="float32"), {}, {}, {}, {}, {})
        assert dtype_of_teachers(teacher, Recipe(epochs=1), resumed) == torch.float32
