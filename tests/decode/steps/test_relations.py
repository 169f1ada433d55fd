"""What relations add to the logits equals their definition in torch, whole and step by step."""

import numpy as np
import pytest
import torch

from triptych.attention.relation import Relation as TorchRelation
from triptych.attention.relation import logits
from triptych.decode.history import MISSING, History
from triptych.decode.steps.relations import Relation
from triptych.shape.relations import ByDistance, ByPitch, ByTime, Layer, RelationSettings

ROWS, HEADS, WIDTH, LENGTH = 2, 3, 4, 11
KINDS: dict[str, RelationSettings] = {
    "clipped distance": ByDistance(4),
    "near distance": ByDistance(4, "zero"),
    "every distance": ByDistance(40),
    "pitch": ByPitch(6),
    "time": ByTime(3, unit=2),
    "near time": ByTime(2, "zero", unit=3),
}


@pytest.mark.parametrize(
    ("name", "causal"),
    [(name, causal) for name, each in KINDS.items() for causal in (True, False) if each.rows(Layer(causal, True))],
)
def test_terms_equal_their_definition(name: str, causal: bool) -> None:
    settings, layer = KINDS[name], Layer(causal, first=True)
    random = np.random.default_rng(1)
    table = random.standard_normal((HEADS, settings.rows(layer), WIDTH)).astype(np.float32)
    query = random.standard_normal((ROWS, HEADS, LENGTH, WIDTH)).astype(np.float32)
    ids = random.integers(0, 9, (ROWS, LENGTH, 1))
    read = np.concatenate((np.full((ROWS, 1, 1), MISSING), ids[:, :-1]), 1)
    places = torch.arange(LENGTH)
    coordinates: dict[str, torch.Tensor] = {}
    if settings.reads:
        of_both = settings.coordinates(places[None], torch.from_numpy(read))
        coordinates = {key: each.expand(ROWS, LENGTH) for key, each in zip(("query", "key"), of_both, strict=True)}
    whole = TorchRelation(torch.from_numpy(table), settings.row(layer), far=settings.far, **coordinates)
    expected = logits(torch.from_numpy(query), whole, places, places).numpy()

    relation, every = Relation(settings, settings.row(layer), table), slice(0, LENGTH)
    term = relation.term(np.arange(LENGTH), read)
    np.testing.assert_allclose(term.of(query, every, every), expected, atol=1e-5)
    np.testing.assert_allclose(term.of(query[:, :, 4:7], slice(4, 7), slice(2, 9)), expected[:, :, 4:7, 2:9], atol=1e-5)
    if not causal:
        return
    history = History(ROWS, LENGTH)
    for position in range(LENGTH):
        start, now = max(0, position - 6), query[:, :, position : position + 1]
        for seen in (None, np.arange(start, position + 1)):
            scores = np.ones((ROWS, HEADS, 1, position + 1 - start), np.float32)
            relation.add(scores, now, history, seen, start)
            np.testing.assert_allclose(scores[:, :, 0] - 1, expected[:, :, position, start : position + 1], atol=1e-5)
        history.append(ids[:, position, 0])
