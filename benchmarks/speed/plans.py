"""The plan of a Transformer, to generate beside it."""

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.plan import plan_of
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of


def planned(model: Transformer) -> PlanDecoder:
    """What a model folder of these weights generates with."""
    return PlanDecoder(plan_of(model.config, arrays_of(model)))
