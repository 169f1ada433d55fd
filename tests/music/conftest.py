"""A small model of chorales that hears its labels, for whoever asks models about pieces; a reader of files."""

from collections.abc import Callable, Iterator

import pytest
import torch

from triptych.model.transformer import Transformer
from triptych.music.chorales.codec import ChoraleCodec
from triptych.music.chorales.labels import LABELS
from triptych.music.files.reading import MusicReader
from triptych.shape.config import Config

ModelOf = Callable[..., Transformer]


def _model_of(seed: int = 0, *, fills: bool = False) -> Transformer:
    torch.manual_seed(seed)
    shape = {"width": 16, "heads": 2, "feed_forward": 16, "encoder_layers": int(fills), "decoder_layers": 1}
    shape |= {"source_vocabulary": ChoraleCodec.source_vocabulary} if fills else {}
    model = Transformer(Config.from_dict({"vocabulary": ChoraleCodec.vocabulary, "classes": LABELS, **shape}))
    torch.nn.init.normal_(model.condition.label.weight)
    return model.double().eval()


@pytest.fixture
def model_of() -> ModelOf:
    """A model of this seed; `fills`: with a source that has holes."""
    return _model_of


@pytest.fixture(scope="session")
def reader() -> Iterator[MusicReader]:
    with MusicReader() as reader:
        yield reader
