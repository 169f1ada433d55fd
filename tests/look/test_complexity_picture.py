from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from matplotlib.figure import Figure
from PIL import Image

from triptych.look.complexity import Complexity, Curve, Plan
from triptych.look.complexity_picture import STYLES, draw
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
    cells = [
        cell.get_text().get_text()
        for axes in figure.axes
        for table in axes.tables
        for cell in table.get_celld().values()
    ]
    return [text.get_text() for text in figure.texts] + inside + legends + cells


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
    assert labels.count("$n^{2.00}$ (2)") == 1 and labels.count("$n^{1.00}$ (1)") == 3, "with the paper's"
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
    assert [title for title in titles if title] == ["no crossing measured up to n = 512"]
