from pathlib import Path

import pytest

from triptych.cli.training.settings import read_settings
from triptych.errors import UserError


def test_settings_of_a_file_and_of_the_command(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[model]\npreset = "tiny"\nvocabulary = 4000\n[training]\nepochs = 3\n', "utf-8")
    tables = read_settings(recipe, ["epochs=5", "optimizer=adam", "model.vocabulary=8000", "data.sampling=0.3"])
    assert tables == {
        "card": {},
        "model": {"preset": "tiny", "vocabulary": 8000},
        "data": {"sampling": 0.3},
        "training": {"epochs": 5, "optimizer": "adam"},
    }


@pytest.mark.parametrize(
    ("content", "assignments", "message"),
    [
        ("[training\n", [], "expected TOML"),
        ("[trainning]\nepochs=1\n", [], "'trainning'"),
        ("epochs = 1\n", [], "'epochs'"),
        ("", ["epochs"], "expected --set key=value, got 'epochs'"),
        ("", ["modle.width=3"], "'modle'"),
    ],
)
def test_bad_settings(tmp_path: Path, content: str, assignments: list[str], message: str) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(content, "utf-8")
    with pytest.raises(UserError, match=message):
        read_settings(recipe, assignments)
