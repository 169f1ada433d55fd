"""The largest few of very many scores, exactly and in a fixed order, without sorting them all."""

import torch
from torch import Tensor

BLOCK = 64  # of 32 to 256 the fastest at V = 10,000, and not critical


def largest(scores: Tensor, offset: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the `count` largest of `scores + offset` in each group.

    Ties go to the lower beam, then to the lower id, so a result never depends on how the search was done.

    Only the maximum of every block of 64 ids is compared first: the `count` largest scores lie in the `count` blocks
    with the largest maxima, so all the rest is never looked at again. Ties do not break this: when several blocks
    share the last maximum, the first of them are taken, and they hold the lowest ids that have it.

    Args:
        scores: [groups, beams, V], any floating type; not changed.
        offset: float64 [groups, beams], added to every score of its beam; -inf switches a beam off.
        count: how many, at most beams * V.

    Returns:
        values float64, beams int64, ids int64, each [groups, count], best first. NaN counts as largest.
    """
    groups, beams, vocabulary = scores.shape
    whole = vocabulary // BLOCK
    tops = scores[:, :, : whole * BLOCK].reshape(groups, beams, whole, BLOCK).amax(3)
    if whole * BLOCK < vocabulary:
        tops = torch.cat([tops, scores[:, :, whole * BLOCK :].amax(2, keepdim=True)], 2)
    blocks = tops.shape[2]
    tops = (tops.double() + offset[:, :, None]).flatten(1)
    chosen = _first_largest(tops, min(count, beams * blocks)).sort(1).values  # in order of beam and id again
    beam = chosen // blocks
    ids = ((chosen - beam * blocks) * BLOCK)[:, :, None] + torch.arange(BLOCK, device=scores.device)
    places = (beam * vocabulary)[:, :, None] + ids.clamp(max=vocabulary - 1)
    values = scores.reshape(groups, -1).gather(1, places.flatten(1)).double().view_as(places)
    values += offset.gather(1, beam)[:, :, None]
    if whole * BLOCK < vocabulary:
        values.masked_fill_(ids >= vocabulary, -torch.inf)
    values = values.flatten(1)
    found = _first_largest(values, count)
    # An id past the vocabulary is -inf, and found only where fewer ids are left than were asked for.
    best = ids.flatten(1).gather(1, found).clamp(max=vocabulary - 1)
    return values.gather(1, found), beam.gather(1, found // BLOCK), best


def _first_largest(values: Tensor, count: int) -> Tensor:
    """Return the places [groups, count] of the largest of `values` [groups, N], best first, ties to the lower place."""
    if count >= values.shape[1]:
        return torch.sort(values, dim=1, descending=True, stable=True).indices[:, :count]
    top, places = values.topk(count + 1, dim=1)
    # topk breaks ties as it likes. Inside the result that is a matter of order; a tie across its edge is rare in
    # float32 (not in bfloat16) and is settled by a full stable sort of the groups concerned.
    tied = (top[:, count - 1] == top[:, count]) & (top[:, count] > -torch.inf)
    places, order = places[:, :count].sort(1)
    order = torch.sort(top.gather(1, order), dim=1, descending=True, stable=True).indices
    places = places.gather(1, order)
    if bool(tied.any()):
        places[tied] = torch.sort(values[tied], dim=1, descending=True, stable=True).indices[:, :count]
    return places
