import pytest

from triptych.errors import UserError
from triptych.music.chorales.codec import VOICES
from triptych.music.piece.instruments import names, read_program, read_programs

NAMES = names()


def test_all_are_there_once() -> None:
    assert len(NAMES) == len(set(NAMES)) == 128 and NAMES[5] == "electric piano 2"
    assert [NAMES[place] for place in (0, 19, 40, 42, 52, 73, 127)] == [
        "acoustic grand piano",
        "church organ",
        "violin",
        "cello",
        "choir aahs",
        "flute",
        "gunshot",
    ]


@pytest.mark.parametrize(
    ("text", "program"),
    [("73", 73), ("0", 0), ("Flute", 73), (" choir_aahs", 52), ("church-organ", 19), ("organ", 16), ("choir", 52)]
    + [(name.upper(), place) for place, name in enumerate(NAMES)],
)
def test_an_instrument_by_number_or_name(text: str, program: int) -> None:
    assert read_program(text) == program


@pytest.mark.parametrize(
    ("text", "message"), [("128", "0 to 127"), ("-1", "0 to 127"), ("", "some"), ("flut3", "flute")]
)
def test_what_is_no_instrument(text: str, message: str) -> None:
    with pytest.raises(UserError, match="expected an instrument of General MIDI") as caught:
        read_program(text)
    assert message in str(caught.value)


def test_instruments_of_voices() -> None:
    assert read_programs(["flute"], VOICES) == (73,) * 4
    assert read_programs(["Bass=cello", "52"], VOICES) == (52, 52, 52, 42)
    assert read_programs(["alto=violin"], VOICES, (1, 2, 3, 4)) == (1, 40, 3, 4)
    with pytest.raises(UserError, match="--program with a voice of soprano, alto, tenor, bass, got 'descant=flute'"):
        read_programs(["descant=flute"], VOICES)
