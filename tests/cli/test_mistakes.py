from typing import Any

import pytest


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["translate", "x", "--temperature", "nan"], "expected --temperature of at least 0, got nan; see triptych t"),
        (["translate", "x", "--beam", "many"], "expected --beam to be a whole number, got many; see triptych t"),
        (["translate", "x", "--seed", "9" * 25], f"expected --seed of at most {2**64 - 1:,}, got {'9' * 25}; see"),
        (["translate", "x", "--beem", "5"], "expected a known option, got --beem; did you mean --beam?; see"),
        (
            ["complete", "x", "--out", "o", "--keep", "middle"],
            "'top', 'bottom', 'left', 'right', got 'middle'; see",
        ),
        (["compose"], "expected --out, got none; see triptych compose --help"),
        (["infill", "--out", "x.mid"], "expected PIECE.mid, got none; see triptych infill --help"),
        (["prepare", "music", "--data", "x", "--out", "y", "--index", "no.csv"], "file 'no.csv' does not exist; see"),
        (["paint", "--top-p", "0", "--out", "x"], "expected top_p above 0 and at most 1, got 0.0; 1 is no limit"),
        (["look", "text", " ", "--out", "x.png"], "expected a sentence, got none; try: triptych look text"),
        (["models", "--device", "cpu"], "expected a known option, got --device"),
    ],
)
def test_what_was_expected_and_what_came(run: Any, arguments: list[str], line: str) -> None:
    ran = run(*arguments)
    assert ran.code == 2 and line in ran.err and ran.err.startswith("error: ") and ran.err.count("\n") == 1
