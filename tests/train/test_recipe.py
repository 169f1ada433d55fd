import pytest

from triptych.errors import UserError
from triptych.train.recipe import Recipe


def test_round_trip() -> None:
    recipe = Recipe(hours=2, optimizer="muon", seed=7)
    assert Recipe.from_mapping(recipe.to_dict()) == recipe


def test_whole_numbers_become_floats() -> None:
    recipe = Recipe.from_mapping({"epochs": 3})
    assert recipe.epochs == 3.0 and isinstance(recipe.epochs, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "neither epochs nor hours"),
        ({"epochs": 0}, "epochs > 0"),
        ({"hours": 1e306}, "hours of 0 to 1,000,000,000"),
        ({"epochs": 1, "seed": 2**64}, "seed of 0 to 18,446,744,073,709,551,615, got "),
        ({"epochs": 1, "learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"epochs": 1, "learning_rate": float("nan")}, "finite learning_rate"),
        ({"epochs": 1, "optimizer": "sgd"}, "optimizer to be one of adam, adamw, muon"),
        ({"epochs": 1, "accumulate": 0}, "accumulate of at least 1, got 0"),
        ({"epochs": 1, "ema": 1.0}, "ema of 0 to below 1"),
        ({"epochs": "many"}, "expected epochs to be a number, got 'many'"),
        ({"epochs": 1, "seed": 1.5}, "expected seed to be a whole number"),
        ({"epochs": 1, "accumulate": True}, "expected accumulate to be a whole number"),
    ],
)
def test_a_mistake_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Recipe.from_mapping(values)
    assert "\n" not in str(caught.value)
