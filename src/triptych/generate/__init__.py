"""Generation from anything that makes one step: sampling (an iterator of token columns) and beam search."""

from triptych.generate.beam import Hypothesis, LengthPenalty, beam_search
from triptych.generate.protocol import RowCache, StepModel
from triptych.generate.sample import Sampling, generate, probabilities

__all__ = [
    "Hypothesis",
    "LengthPenalty",
    "RowCache",
    "Sampling",
    "StepModel",
    "beam_search",
    "generate",
    "probabilities",
]
