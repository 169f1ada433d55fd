"""Attention and layers over whole sequences, without torch: for encoders, and for what a decoder is given at once.

Shapes in comments: B rows, P positions, H heads, D width of a head, W = H D.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from triptych.decode.arithmetic import Floats, softmax
from triptych.decode.history import Ids
from triptych.decode.maps import AttentionMaps
from triptych.decode.plan import Layer, Plan, SelfAttention
from triptych.shape.pattern import Full, Local1D, Pattern, mask

QUERIES = 128  # that are computed together: the products with all keys they see are in memory at once
KeysValues = tuple[Floats, Floats]  # each [B, H, P, D]
Padding = NDArray[np.bool_]  # [B, P]


def split(hidden: Floats, parts: int, heads: int) -> Floats:
    """Projections [B, P, parts W] by part and head: [parts, B, H, P, D]."""
    rows, positions = hidden.shape[:2]
    return hidden.reshape(rows, positions, parts, heads, -1).transpose(2, 0, 3, 1, 4)


def join(mixed: Floats) -> Floats:
    """[B, H, P, D] -> [B, P, W]."""
    rows, heads, positions, width = mixed.shape
    return mixed.transpose(0, 2, 1, 3).reshape(rows, positions, heads * width)


def encoder_layer(
    plan: Plan, layer: Layer, hidden: Floats, read: Ids, hide: Padding | None, maps: list[Floats] | None
) -> Floats:
    """Hidden [B, P, W] a layer further, of ids `read` [B, P, S]. hide [B, P]: the padding."""
    hidden, _ = _self_attention(plan, layer.attention, hidden, read, Full(), hide, maps)
    return layer.network(hidden)


def decoder_layer(
    plan: Plan,
    layer: Layer,
    hidden: Floats,
    read: Ids,
    source: KeysValues | None,
    hide: Padding | None,
    maps: AttentionMaps | None = None,
) -> tuple[Floats, KeysValues]:
    """Hidden [B, P, W] a layer further, and its keys and values. read [B, P, S]: the ids that each position has read;
    source: keys and values of the encoded source, of which `hide` [B, Q] is padding.
    """
    pattern = plan.config.pattern
    own = None if maps is None else maps.decoder
    hidden, kept = _self_attention(plan, layer.attention, hidden, read, pattern, None, own)
    if layer.cross is not None:
        assert source is not None
        cross, beside = layer.cross, None if maps is None else maps.cross
        query = split(cross.query(cross.norm(hidden) if plan.pre else hidden), 1, plan.config.heads)[0]
        hidden = hidden + cross.output(join(attend_to_source(query, source, hide, beside)))
        hidden = hidden if plan.pre else cross.norm(hidden)
    return layer.network(hidden), kept


def attend_to_source(
    query: Floats, source: KeysValues, hide: Padding | None, maps: list[Floats] | None = None
) -> Floats:
    """Attention [B, H, P, D] of query [B, H, P, D] to all keys and values [B, H, S, D]; hide [B, S]: the padding."""
    key, value = source
    scores = np.matmul(query * np.float32(query.shape[-1] ** -0.5), key.transpose(0, 1, 3, 2))
    if hide is not None:
        _hide(scores, hide[:, None, None])
    found = softmax(scores)
    if maps is not None:
        maps.append(found)
    mixed: Floats = np.matmul(found, value)
    return mixed


def _self_attention(
    plan: Plan,
    attention: SelfAttention,
    hidden: Floats,
    read: Ids,
    pattern: Pattern,
    hide: Padding | None,
    maps: list[Floats] | None,
) -> tuple[Floats, KeysValues]:
    """Hidden [B, P, W] after self-attention by a pattern, some queries at a time; and its keys and values."""
    entering = attention.norm(hidden) if plan.pre else hidden
    query, key, value = split(attention.query_key_value(entering), 3, plan.config.heads)
    positions, width = query.shape[2:]
    query = query * np.float32(width**-0.5)
    terms = [relation.term(np.arange(positions), read) for relation in attention.relations]
    mixed = np.empty_like(query)
    whole = None if maps is None else np.zeros((*query.shape[:3], positions), np.float32)
    for first, last, start in _spans(pattern, positions):
        end = positions if pattern == Full() else last
        queries, keys = slice(first, last), slice(start, end)
        scores = np.matmul(query[:, :, queries], key[:, :, keys].transpose(0, 1, 3, 2))  # [B, H, queries, keys]
        for term in terms:
            scores += term.of(query[:, :, queries], queries, keys)
        if pattern != Full():
            _hide(scores, ~mask(pattern, positions, positions)[queries, keys])
        if hide is not None:
            _hide(scores, hide[:, None, None, keys])
        found = softmax(scores)
        if whole is not None:
            whole[:, :, queries, keys] = found
        mixed[:, :, queries] = np.matmul(found, value[:, :, keys])
    if maps is not None and whole is not None:
        maps.append(whole)
    hidden = hidden + attention.output(join(mixed))
    return hidden if plan.pre else attention.norm(hidden), (key, value)


def _hide(scores: Floats, hidden: NDArray[np.bool_]) -> None:
    """Let no query see the keys that are hidden, in place."""
    np.putmask(scores, np.broadcast_to(hidden, scores.shape), -np.inf)


def _spans(pattern: Pattern, positions: int) -> Iterator[tuple[int, int, int]]:
    """Queries first .. last - 1, and the first key that any of them may see."""
    for first in range(0, positions, QUERIES):
        start = 0
        if isinstance(pattern, Local1D):
            start = max(0, first // pattern.query * pattern.query - pattern.memory)
        yield first, min(first + QUERIES, positions), start
