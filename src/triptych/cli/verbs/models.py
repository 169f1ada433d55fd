"""`triptych models`: what ships, with its domain, scores and licence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from triptych.cli import options
from triptych.cli.output import answer

SHOWN = ("domain", "parameters", "scores", "license")


@options.grouped
def models(*, json: options.Json = False) -> None:
    """List the models that ship, with their domain, scores and licence."""
    from triptych.shape.store import shipped

    cards = list(shipped())
    answer({"models": cards}, _described(cards), as_json=json)


def _described(cards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A short paragraph a model; the whole card is in --json and in the model's folder."""
    if not cards:
        yield "no models ship with this build; give --model a folder"
    for number, card in enumerate(cards):
        if number:
            yield ""
        yield str(card.get("name", "(without a name)"))
        for key in SHOWN:
            if key in card:
                lines = (
                    _scores(card[key]) if key == "scores" and isinstance(card[key], Mapping) else [worded(card[key])]
                )
                yield from (f"  {'' if number else key:<11} {line}" for number, line in enumerate(lines))


def _scores(scores: Mapping[str, Any]) -> list[str]:
    """A line for each measure, or for each test set; how sacreBLEU calls its settings is in --json."""
    return [
        f"{name}: {worded({key: each for key, each in value.items() if key != 'signature'})}"
        if isinstance(value, Mapping)
        else f"{name}: {worded(value)}"
        for name, value in scores.items()
    ]


def worded(value: object) -> str:
    """Words for a card's value: nested tables become `key value` pairs."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} {f'({worded(item)})' if isinstance(item, Mapping) else worded(item)}" for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(worded, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
