"""The words: translations as they are decoded, the pieces that were weighed, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.look.attention import attention_maps
from triptych.studio.answers import draw_options, envelope, map_of, settled
from triptych.studio.models import Models
from triptych.studio.requests import Alternatives, LibreTranslate, TextAttention, Translate
from triptych.studio.work import Job, RefusedError

NAMES = {"en": "English", "de": "German", "fr": "French", "cs": "Czech", "es": "Spanish", "it": "Italian"}


def translate(models: Models, asked: Translate, job: Job) -> dict[str, Any]:
    """The translations of a text, best first; `partial` shows the leading one while it grows."""
    entry, seed = models.find(asked.model, "translate"), asked.seed
    asked = settled(replace(asked, nbest=1 if asked.sample else min(asked.beam, asked.nbest)), entry)
    translator = entry.load()
    codec, how = translator.codec, {"align": True, "prefix": asked.forced}
    _check_ids(codec, asked.forced)
    if asked.sample:  # the verb samples where one of its options is given
        command = ["translate", *draw_options(asked, math.nan)]
    else:
        asked = replace(asked, seed=seed)  # nothing is drawn
        command = ["translate", "--beam", str(asked.beam), "--nbest", str(asked.nbest)]
    about = envelope(
        "translate", asked, entry, None if asked.forced else [*command, f"--model={entry.given}", "--", asked.text]
    )
    about |= {} if asked.sample else {"seed": None}
    job.send("start", about)

    def partial(cache: Any) -> None:
        ids = cache.history.ids[0, : cache.history.length, 0].tolist()
        job.send("partial", {"text": codec.decode(ids), "pieces": codec.pieces(ids)})

    with job.watched(partial, 0):  # a step is a word's part
        if asked.sample:
            found = translator.sample([asked.text], asked.sampling(), asked.seed, **how)
        else:
            found = translator.translate([asked.text], beam=asked.beam, nbest=asked.nbest, **how)[0]
    translations = [
        {
            "text": one.text,
            "score": one.score,
            "log_prob": one.log_prob,
            "ids": list(one.ids),
            "pieces": list(one.tokens),
            "probabilities": np.exp(one.log_probs).round(6).tolist(),
            "alignment": [[target, source] for source, target in one.alignment],
        }
        for one in found
    ]
    return {
        **about,
        "source": _side(codec, codec.encode(asked.text)),
        "translations": translations,
        "forced": len(asked.forced),
    }


def alternatives(models: Models, asked: Alternatives, job: Job) -> dict[str, Any]:
    """The most probable pieces at each place of a translation."""
    entry = models.find(asked.model, "translate")
    translator = entry.load()
    codec, found = translator.codec, []
    _check_ids(codec, asked.ids)
    places = asked.ids if codec.END in asked.ids else [*asked.ids, None]
    for chosen, weighed in zip(places, translator.weighed(asked.text, asked.ids), strict=False):
        order, probabilities = (-weighed).argsort(kind="stable"), np.exp(weighed).round(6)
        own: dict[str, Any] = {"id": chosen, "piece": None, "probability": None, "rank": None}
        if chosen is not None:
            own |= {"piece": codec.pieces([chosen])[0], "probability": float(probabilities[chosen])}
            own["rank"] = int((order == chosen).argmax())
        best = [
            {
                "id": id_,
                "piece": codec.pieces([id_])[0],
                "text": codec.decode([id_]),
                "probability": float(probabilities[id_]),
            }
            for id_ in order[: asked.count].tolist()
        ]
        found.append({**own, "alternatives": best})
    return {"model": entry.name, "positions": found}


def attention(models: Models, asked: TextAttention, job: Job) -> dict[str, Any]:
    """The maps of all three kinds of attention, of every layer and head."""
    entry = models.find(asked.model, "translate")
    translator = entry.load()
    codec = translator.codec
    _check_ids(codec, asked.ids)
    ids = asked.ids if codec.END in asked.ids else [*asked.ids, codec.END]
    source, target, recorded = translator.attention(asked.text, ids)
    maps = attention_maps(recorded, codec.pieces(target), codec.pieces(source))
    found = {name: map_of(maps[name].weights) if name in maps else None for name in ("encoder", "decoder", "cross")}
    layers, heads = maps["decoder"].weights.shape[:2]
    sides = {"source": _side(codec, source), "target": _side(codec, target)}
    return {"model": entry.name, "kind": "text", "layers": layers, "heads": heads, **sides, **found}


def libretranslate(models: Models, asked: LibreTranslate, job: Job) -> list[list[str]]:
    """The translations of each text, best first."""
    if asked.source == "auto":
        raise RefusedError("expected a source language, got auto; languages are not detected here: see /languages", 400)
    if asked.format == "html":
        raise RefusedError("expected format text, got html; send plain text", 400)
    pairs = _pairs(models)
    if (asked.source, asked.target) not in pairs:
        known = ", ".join(map("-".join, pairs)) or "none"
        raise RefusedError(f"expected languages of {known}, got {asked.source}-{asked.target}; see /languages", 400)
    count = asked.alternatives + 1
    found = pairs[asked.source, asked.target].load().translate(asked.q, beam=max(5, count), nbest=count)
    return [[one.text for one in choices] for choices in found]


def languages(models: Models) -> list[dict[str, Any]]:
    """The languages as LibreTranslate lists them, each with those that it can be translated to."""
    targets: dict[str, list[str]] = {}
    for source, target in _pairs(models):
        targets.setdefault(source, []).append(target)
        targets.setdefault(target, [])
    return [{"code": code, "name": NAMES.get(code, code), "targets": known} for code, known in targets.items()]


def _pairs(models: Models) -> dict[tuple[str, str], Any]:
    """The translators that name their languages, by source and target; of two of a pair the first one."""
    found: dict[tuple[str, str], Any] = {}
    for entry in models.entries.values():
        named = entry.card.get("languages")
        if entry.task == "translate" and isinstance(named, dict) and {"source", "target"} <= set(named):
            found.setdefault((str(named["source"]), str(named["target"])), entry)
    return found


def _side(codec: Any, ids: Sequence[int]) -> dict[str, Any]:
    return {"ids": list(ids), "pieces": codec.pieces(ids)}


def _check_ids(codec: Any, ids: Sequence[int]) -> None:
    wrong = next((one for one in ids if one >= codec.vocabulary), None)
    if wrong is not None:
        raise RefusedError(
            f"expected ids of pieces below {codec.vocabulary:,}, got {wrong:,}; take them from an answer"
        )
    if codec.END in ids[:-1]:
        raise RefusedError(
            "expected the end of the sentence as the last piece alone, got pieces after it; leave them out"
        )
