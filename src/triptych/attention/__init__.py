"""Floor 0: what may look at what, and how it is computed. Pure functions, no parameters, no state."""

from triptych.attention.attend import attend as attend
from triptych.attention.attend import fused as fused
from triptych.attention.blockwise import blockwise as blockwise
from triptych.attention.causality import causality_violations as causality_violations
from triptych.attention.dense import dense as dense
from triptych.attention.dense import weights as weights
from triptych.attention.pattern import Full as Full
from triptych.attention.pattern import Local1D as Local1D
from triptych.attention.pattern import Local2D as Local2D
from triptych.attention.pattern import Pattern as Pattern
from triptych.attention.pattern import mask as mask
from triptych.attention.pattern import order as order
from triptych.attention.pattern import ring as ring
from triptych.attention.pattern import table as table
from triptych.attention.pattern import visible as visible
from triptych.attention.relation import ByCoordinate as ByCoordinate
from triptych.attention.relation import ByDistance as ByDistance
from triptych.attention.relation import Relation as Relation
from triptych.attention.step import fill as fill
from triptych.attention.step import step as step
