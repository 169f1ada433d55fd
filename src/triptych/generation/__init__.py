"""Generation from anything that makes one step: sampling (an iterator of token columns) and beam search."""

from triptych.generation.beam import Hypothesis, LengthPenalty, beam_search
from triptych.generation.protocol import RowCache, StepModel
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling, probabilities
from triptych.generation.seeds import derive

__all__ = [
    "Hypothesis",
    "LengthPenalty",
    "RowCache",
    "Sampling",
    "StepModel",
    "beam_search",
    "derive",
    "generate",
    "probabilities",
]
