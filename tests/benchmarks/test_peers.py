"""What the adapters make is causal, of the shape asked for, and reads what it is given. Skipped where not installed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from speed import peers
from speed.ours import Built
from speed.plans import planned
from torch import Tensor, nn

from triptych.attention.causality import causality_violations
from triptych.attention.dense import dense
from triptych.generation.beam import LengthPenalty, beam_search
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.pattern import Local1D

# Peers use what torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONFIG = Config(9, width=16, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=1, dropout=0.0)


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(name not in peers.installed(), reason=f"{name} is not installed")


DECODERS: list[object] = [
    pytest.param(
        lambda: peers.x_decoder(CONFIG, 8, rotary_pos_emb=True, attn_flash=True), marks=needs("x-transformers")
    ),
    pytest.param(lambda: peers.x_decoder(CONFIG, 8, rel_pos_bias=True), marks=needs("x-transformers")),
    pytest.param(lambda: peers.gpt2(CONFIG, 8), marks=needs("transformers")),
    pytest.param(lambda: peers.local_transformer(CONFIG, 8, 4), marks=needs("local-attention")),
]


@pytest.mark.parametrize("build", DECODERS)
def test_decoders_are_causal(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = build().eval()

    def logits(ids: Tensor) -> Tensor:
        out = model(ids)
        found: Tensor = getattr(out, "logits", out)
        assert found.shape == (1, 8, 9)
        return found

    assert causality_violations(logits, 8, vocabulary=9, tolerance=1e-5) == []


TRANSLATORS: list[object] = [
    pytest.param(lambda: peers.x_translator(CONFIG, 8, 0.1), marks=needs("x-transformers")),
    pytest.param(lambda: peers.marian_translator(CONFIG, 0.1), marks=needs("transformers")),
]


@pytest.mark.parametrize("build", TRANSLATORS)
def test_translators_read_the_source_up_to_its_length(build: Callable[[], Built]) -> None:
    torch.manual_seed(0)
    model, loss = build()
    model.eval()
    batch = Batch(torch.tensor([[4, 5, 6]]), torch.tensor([3]), torch.tensor([[1, 2, 3]]), torch.tensor([2]))
    first, padded, other = (
        float(loss(replace(batch, source=torch.tensor([ids]))).detach()) for ids in ([1, 2, 3], [1, 2, 8], [1, 7, 3])
    )
    assert first == pytest.approx(padded, abs=1e-6) and abs(first - other) > 1e-6


@pytest.mark.parametrize("build", TRANSLATORS)
def test_translators_tie_the_output_to_the_embeddings(build: Callable[[], Built]) -> None:
    shapes = [parameter.shape for parameter in build()[0].parameters()]
    assert shapes.count(torch.Size((9, 16))) == 1


@needs("local-attention")
def test_local_attention_equals_the_definition() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, 14, 6, dtype=torch.float64)
    expected = dense(query, key, value, pattern=Local1D(4, 4))
    torch.testing.assert_close(peers.local_attention(4)(query, key, value), expected)


@needs("ctranslate2")
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_ctranslate2_scores_and_finds_what_ours_does_with_the_same_weights(norm: str, tmp_path: Path) -> None:
    """Log-probabilities of given targets, and the best hypothesis, of which ours has an END at the last place."""
    from ctranslate2 import Translator

    torch.manual_seed(0)
    config = Config(30, width=16, heads=2, feed_forward=24, encoder_layers=2, decoder_layers=2, norm=norm)
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    peers.ctranslate2(model, tmp_path / "model", end=1)
    translator = Translator(str(tmp_path / "model"), compute_type="float32", intra_threads=1)
    decoder, length = planned(model), 20
    sources = np.array([[5, 6, 7, 8, 0, 0], [9, 10, 11, 12, 13, 3]])
    asked = [[str(number) for number in source if number] for source in sources]
    target = np.array([[18, 7, 2, 1]])
    (scored,) = translator.score_batch(asked[1:], [["18", "7", "2"]])
    ours = decoder.log_probs(target, source=sources[1:])[0]
    np.testing.assert_allclose(scored.log_probs, ours, atol=1e-4)
    for beam in (1, 5):
        found = translator.translate_batch(
            asked,
            beam_size=beam,
            length_penalty=1,
            min_decoding_length=length,
            max_decoding_length=length,
        )
        cache = decoder.start(source=sources, source_lengths=np.array([4, 6]), beams=beam, length=length)
        mean = LengthPenalty("power", 1.0)
        best = beam_search(
            decoder, cache, end=1, beam=beam, min_length=length, max_length=length, penalty=mean, stop="first"
        )
        for theirs, choices in zip(found, best, strict=True):
            ids = [int(token) for token in theirs.hypotheses[0]]
            assert len(ids) == length and ids[:-1] == [*choices[0].ids[:-1]]


def test_installed_names_what_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None if name == "x_transformers" else object())
    assert peers.installed() == ("transformers", "local-attention", "ctranslate2")
