"""Floor 0: what may look at what, and how it is computed. Pure functions, no parameters, no state."""

from triptych.attention.attend import attend as attend
from triptych.attention.attend import fused as fused
from triptych.attention.blockwise import blockwise as blockwise
from triptych.attention.causality import causality_violations as causality_violations
from triptych.attention.dense import dense as dense
from triptych.attention.dense import weights as weights
from triptych.attention.relation import Relation as Relation
from triptych.attention.step import fill as fill
from triptych.attention.step import step as step
from triptych.attention.tables import mask as mask
from triptych.attention.tables import order as order
from triptych.attention.tables import table as table
from triptych.attention.tables import visible as visible
from triptych.shape.pattern import Full as Full
from triptych.shape.pattern import Local1D as Local1D
from triptych.shape.pattern import Local2D as Local2D
from triptych.shape.pattern import Pattern as Pattern
from triptych.shape.pattern import ring as ring
