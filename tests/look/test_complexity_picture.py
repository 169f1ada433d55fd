from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from matplotlib.figure import Figure
from PIL import Image

from triptych.look.complexity import Complexity, Curve, Plan
from triptych.look.complexity_picture import STYLES, _apart, draw
from triptych.look.layers import TABLE, Weighed
from triptych.picture import save


def found() -> Complexity:
    sizes = (256, 512, 1024)
    times = {kind: Curve(sizes, tuple(1e-7 * n**row.by_length for n in sizes)) for kind, row in TABLE.items()}
    memory: dict[Weighed, Curve] = {kind: Curve(sizes, tuple(1e-2 * n for n in sizes)) for kind in TABLE}
    memory["dense"] = Curve(sizes, tuple(1e-4 * n**2 for n in sizes))
    duel = {"full": Curve((128, 256, 512), (1e-3, 4e-3, 16e-3)), "lstm": Curve((128, 256, 512), (2e-3, 4.1e-3, 8e-3))}
    machine = {"threads": 2, "capability": "AVX2", "torch": "2.13.0"}
    backends = {"full": "fused", "local": "blockwise"}
    return Complexity(Plan(64, 2048), times, dict(times), memory, duel, backends, machine, busy=True)


def texts(figure: Figure) -> list[str]:
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for axes in figure.axes if (legend := axes.get_legend()) for text in legend.get_texts()]
    return [text.get_text() for text in figure.texts] + inside + legends


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_is_written_and_not_blank(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    save(draw(found()), path)
    if suffix == ".svg":
        assert all(style.colour in path.read_text("utf-8") for style in STYLES.values())
        return
    with Image.open(path) as image:
        pixels = numpy.asarray(image.convert("RGB")).reshape(-1, 3)
    assert 0.5 < (pixels == 255).all(1).mean() < 0.98
    for style in STYLES.values():
        colour = [int(style.colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (abs(pixels.astype(int) - colour).max(1) < 3).sum() > 100, f"no line of {style.name}"


def test_the_table_and_what_was_measured_stand_side_by_side() -> None:
    labels = texts(draw(found()))
    assert {row.name for row in TABLE.values()} <= set(labels)
    assert r"$n^2\,d$" in labels and r"$\log_k\,n$" in labels
    assert "attention $n^{2.00}$" in labels and "LSTM $n^{1.00}$" in labels and "dense $n^{2.00}$" in labels
    assert labels.count("$n^{2.00}$") == 1 and labels.count("(2)") == 3, "exponents in the table, with the paper's"
    assert "the table: n = d = 64" in labels and "multiplications counted: n = 4 d = 256" in labels
    assert any(text.startswith("measured: n = 2") for text in labels)
    assert any("2 threads" in text and text.endswith("The machine was busy.") for text in labels)
    assert any("chose fused for attention and blockwise for restricted" in text for text in labels)


def test_what_was_not_found_is_named() -> None:
    never = Curve((128, 256, 512), (1e-3, 2e-3, 3e-3))
    figure = draw(
        replace(found(), by_memory={}, duel={"full": never, "lstm": Curve(never.sizes, (2.0, 3.0, 4.0))}, busy=False)
    )
    labels = texts(figure)
    assert "measured on Linux only" in labels
    assert not any(text.startswith("measured: ") for text in labels) and not any("busy" in text for text in labels)
    titles = [legend.get_title().get_text() for axes in figure.axes if (legend := axes.get_legend())]
    assert titles == ["no crossing measured up to n = 512"]


def test_names_at_the_ends_of_lines_do_not_overlap() -> None:
    figure = draw(found())  # three of the lines end in one point
    figure.draw_without_rendering()
    for axes in figure.axes[:4]:
        boxes = [
            text.get_window_extent() for text in axes.texts if any(s.name in text.get_text() for s in STYLES.values())
        ]
        assert len(boxes) >= 2
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize(
    ("places", "moved"),
    [
        ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0]),
        ([1.0, 1.0], [0.5, 1.5]),
        ([2.0, 1.9, 9.0], [2.45, 1.45, 9.0]),
        ([0.0, 0.0, 0.0, 5.0], [-1.0, 0.0, 1.0, 5.0]),
        ([], []),
    ],
)
def test_places_move_apart_as_little_as_they_can(places: Sequence[float], moved: Sequence[float]) -> None:
    assert _apart(places, 1.0) == pytest.approx(moved)
