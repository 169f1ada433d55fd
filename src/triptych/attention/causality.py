"""A check that any function of a sequence is causal: change one position and see which outputs move."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from triptych.errors import UserError


@torch.no_grad()
def causality_violations(
    function: Callable[[Tensor], Tensor],
    length: int,
    *,
    width: int = 8,
    vocabulary: int | None = None,
    strict: bool = False,
    tolerance: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> list[tuple[int, int]]:
    """Pairs (j, i): the input at position j was changed and the output at the earlier position i moved. Empty = causal.

    function: takes [1, length, width] random numbers, or int64 ids [1, length] below `vocabulary` if that is given, and
    returns [1, length, ...]; it must give the same output for the same input. strict: also the output at j itself must
    not move, as for a model whose output i predicts input i. tolerance: the largest change that counts as none; 0 is
    right where the unseen is multiplied by an exact zero, as in this package. Takes length + 1 calls. Raises UserError
    for a function that is not repeatable or does not keep the length.
    """
    if length < 1 or (vocabulary is not None and vocabulary < 2):
        raise UserError(
            f"expected a length from 1 and a vocabulary from 2, got {length} and {vocabulary}; enlarge them"
        )
    random = torch.Generator().manual_seed(0)
    if vocabulary is None:
        inputs = torch.randn(1, length, width, generator=random, dtype=dtype)
        changed = inputs + 1 + torch.rand(inputs.shape, generator=random, dtype=dtype)
    else:
        inputs = torch.randint(vocabulary, (1, length), generator=random)
        changed = (inputs + torch.randint(1, vocabulary, (1, length), generator=random)) % vocabulary
    before = function(inputs)
    if before.shape[:2] != (1, length):
        raise UserError(
            f"expected the function to return [1, {length}, ...], got {list(before.shape)}; "
            "keep one output for each position"
        )
    if not torch.equal(before, function(inputs)):
        raise UserError("expected the same output for the same input, got another; switch dropout off (model.eval())")
    violations = []
    for position in range(length):
        probe = inputs.clone()
        probe[:, position] = changed[:, position]
        moved = (function(probe) - before).abs().reshape(length, -1).amax(1) > tolerance
        forbidden = moved[: position + 1 if strict else position]
        violations += [(position, i) for i in forbidden.nonzero().flatten().tolist()]
    return violations
