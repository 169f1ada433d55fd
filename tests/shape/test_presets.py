from pathlib import Path

import pytest

from triptych.shape.settings import Presets


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Presets:
    room = tmp_path / "room_of_presets"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "presets.toml").write_text(
        '[large]\nwidth = 512\nhead = { kind = "patch", layers = 3 }\n'
        '[small]\nbase = "large"\nwidth = 64\n[tiny]\nbase = "small"\nhead = "tied"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    return Presets("room_of_presets")


def test_a_preset_has_the_settings_of_its_base_but_for_its_own(presets: Presets) -> None:
    assert presets["small"] == {"width": 64, "head": {"kind": "patch", "layers": 3}}
    assert presets["tiny"] == {"width": 64, "head": "tied"}
    assert presets["large"]["width"] == 512


def test_presets_are_listed_in_their_order(presets: Presets) -> None:
    assert list(presets) == ["large", "small", "tiny"] and len(presets) == 3
    with pytest.raises(KeyError):
        presets["huge"]


def test_nothing_is_read_before_it_is_asked_for() -> None:
    Presets("no_such_package")
