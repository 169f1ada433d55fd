from pathlib import Path

import pytest

from triptych.errors import UserError
from triptych.shape.settings import preset_of, presets


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    room = tmp_path / "room_of_presets"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "presets.toml").write_text(
        '[large]\nwidth = 512\nhead = { kind = "patch", layers = 3 }\n'
        '[small]\nbase = "large"\nwidth = 64\n[tiny]\nbase = "small"\nhead = "tied"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "room_of_presets"


def test_a_preset_has_the_settings_of_its_base_but_for_its_own(package: str) -> None:
    assert preset_of(package, "small") == {"width": 64, "head": {"kind": "patch", "layers": 3}}
    assert preset_of(package, "tiny") == {"width": 64, "head": "tied"}
    assert preset_of(package, "large")["width"] == 512


def test_presets_are_listed_in_their_order(package: str) -> None:
    assert list(presets(package)) == ["large", "small", "tiny"]
    with pytest.raises(UserError, match="preset to be one of large, small, tiny, got 'huge'"):
        preset_of(package, "huge")
