"""The words: translations as they are decoded, the pieces that were weighed, attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Annotated, Any, Literal

import numpy as np

from triptych.decode.steps.positions import sinusoids
from triptych.fields import Size
from triptych.look.attention import attention_maps
from triptych.shape.plain import packed
from triptych.studio.models import Models
from triptych.studio.requests import MAX_BEAM, MAX_LINES, MAX_TEXT, Drawn, Ids, Model, Request, Text, map_of
from triptych.studio.work import Job, RefusedError

NAMES = {"en": "English", "de": "German", "fr": "French", "cs": "Czech", "es": "Spanish", "it": "Italian"}


class Translate(Drawn):
    """Translate a text: the best, best first. forced: ids with which it begins. sample: draw it, do not search."""

    text: Text
    beam: Annotated[int, Size(1, MAX_BEAM)] = 5
    nbest: Annotated[int, Size(1, MAX_BEAM)] = 5
    forced: Ids = field(default_factory=list)
    sample: bool = False

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, translator = models.find(self.model, "translate")
        asked = replace(self.settled(entry), nbest=1 if self.sample else min(self.beam, self.nbest))
        codec, how = translator.codec, {"align": True, "prefix": self.forced}
        _check_ids(codec, self.forced)
        if self.sample:  # the verb samples where one of its options is given
            command = ["translate", *asked.options(entry, "temperature")]
        else:
            asked = replace(asked, seed=self.seed)  # nothing is drawn
            command = ["translate", "--beam", str(asked.beam), "--nbest", str(asked.nbest)]
        command += [f"--model={entry.given}", "--", self.text]
        about = asked.envelope(entry, None if self.forced else command) | ({} if self.sample else {"seed": None})
        job.send("start", about)

        def partial(cache: Any) -> None:
            ids = cache.history.ids[0, : cache.history.length, 0].tolist()
            job.send("partial", {"text": codec.decode(ids), "pieces": codec.pieces(ids)})

        with job.watched(partial, 0):  # a step is a word's part
            if self.sample:
                found = translator.sample([self.text], **asked.drawing(), **how)
            else:
                found = translator.translate([self.text], beam=asked.beam, nbest=asked.nbest, **how)[0]
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
        source = _side(codec, codec.encode(self.text))
        return {**about, "source": source, "translations": translations, "forced": len(self.forced)}


class Alternatives(Request):
    """The most probable pieces at each place of a translation, given those before it."""

    text: Text
    ids: Ids
    model: Model | None = None
    count: Annotated[int, Size(1, 20)] = 8

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, translator = models.find(self.model, "translate")
        codec, found = translator.codec, []
        _check_ids(codec, self.ids)
        places = self.ids if codec.END in self.ids else [*self.ids, None]
        for chosen, weighed in zip(places, translator.weighed(self.text, self.ids), strict=False):
            order, shares = (-weighed).argsort(kind="stable").tolist(), np.exp(weighed).round(6).tolist()
            own: dict[str, Any] = {"id": None, "piece": None, "probability": None, "rank": None}
            if chosen is not None:
                own = {**_piece(codec, chosen, shares), "rank": order.index(chosen)}
            best = [{**_piece(codec, one, shares), "text": codec.decode([one])} for one in order[: self.count]]
            found.append({**own, "alternatives": best})
        return {"model": entry.name, "positions": found}


class TextAttention(Request):
    """Attention of all three kinds, of every layer and head, while a translation, given as ids, is written."""

    kind: Literal["text"]
    text: Annotated[str, Size(1, MAX_TEXT, True)]
    ids: Ids
    model: Model | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, translator = models.find(self.model, "translate")
        codec = translator.codec
        _check_ids(codec, self.ids)
        ids = self.ids if codec.END in self.ids else [*self.ids, codec.END]
        source, target, recorded = translator.attention(self.text, ids)
        maps = attention_maps(recorded, codec.pieces(target), codec.pieces(source))
        found = {name: map_of(maps[name].weights) if name in maps else None for name in ("encoder", "decoder", "cross")}
        layers, heads = maps["decoder"].weights.shape[:2]
        sides = {"source": _side(codec, source), "target": _side(codec, target)}
        return {"model": entry.name, "kind": "text", "layers": layers, "heads": heads, **sides, **found}


class Positions(Request):
    """The sinusoids of positions, a byte each."""

    length: Annotated[int, Size(1, 512, True)] = 64
    width: Annotated[int, Size(2, 1_024, True)] = 128

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        if self.width % 2:
            raise RefusedError(f"expected an even width, got {self.width}: sines and cosines are pairs")
        values = np.rint(sinusoids(np.arange(self.length), self.width) * 127.5 + 127.5)
        size = {"length": self.length, "width": self.width}
        return {**size, "scale": 1 / 127.5, "zero": 127.5, "data": packed(values)}


class LibreTranslate(Request):
    """Translate as LibreTranslate has it: q is a text or a list of texts; `auto` and html are refused."""

    source: Annotated[str, Size(1, 20)]
    target: Annotated[str, Size(1, 20)]
    q: Annotated[list[Text], Size(0, MAX_LINES, True)]
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, Size(0, MAX_BEAM - 1)] = 0
    api_key: Annotated[str, Size(0, 200)] = ""

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        pairs = _pairs(models)
        fault = None
        if self.source == "auto":
            fault = "a source language, got auto; languages are not detected here: see /languages"
        elif self.format == "html":
            fault = "format text, got html; send plain text"
        elif (self.source, self.target) not in pairs:
            known = ", ".join(map("-".join, pairs)) or "none"
            fault = f"languages of {known}, got {self.source}-{self.target}; see /languages"
        if fault:
            raise RefusedError(f"expected {fault}", 400)
        count = self.alternatives + 1
        found = pairs[self.source, self.target].load().translate(self.q, beam=max(5, count), nbest=count)
        answer = {"translatedText": [choices[0].text for choices in found]}
        others = [[one.text for one in choices[1:]] for choices in found]
        return {**answer, "alternatives": others} if self.alternatives else answer


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


def _piece(codec: Any, id_: int, shares: Sequence[float]) -> dict[str, Any]:
    return {"id": id_, "piece": codec.pieces([id_])[0], "probability": shares[id_]}


def _side(codec: Any, ids: Sequence[int]) -> dict[str, Any]:
    return {"ids": list(ids), "pieces": codec.pieces(ids)}


def _check_ids(codec: Any, ids: Sequence[int]) -> None:
    wrong = next((one for one in ids if one >= codec.vocabulary), None)
    if wrong is not None:
        known = f"ids of pieces below {codec.vocabulary:,}"
        raise RefusedError(f"expected {known}, got {wrong:,}; take them from an answer")
    if codec.END in ids[:-1]:
        end = "the end of the sentence as the last piece alone"
        raise RefusedError(f"expected {end}, got pieces after it; leave them out")
