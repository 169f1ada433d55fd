"""The product of the image panel: load or train a painter; paint, complete, upscale, measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.decode.maps import Map
from triptych.errors import UserError, expect, whole_number
from triptych.extras import require
from triptych.generation.forced import FREE
from triptych.generation.protocol import Ids
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling
from triptych.generation.seeds import derive
from triptych.image.augmentation import Augmentation
from triptych.image.codec import FILE, HOLE, PictureCodec, Pixels
from triptych.image.data import Mask, PictureData, PictureModel, Task, fitted, held_out_batches, matched, shrunk
from triptych.image.files.arrays import HELD_OUT
from triptych.image.files.pictures import Pictures
from triptych.image.presets import check_fit, shaped, usual_preset
from triptych.image.score import Enlargement, Likelihood, Progress, enlargement, likelihood
from triptych.shape.bounds import one_of
from triptych.train.recipe import Recipe
from triptych.train.run.inputs import digest_of
from triptych.trained import Product, Trained, check_recipe

if TYPE_CHECKING:
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

MAX_COUNT = 512  # pictures that are made side by side
ENLARGED_TOGETHER = 128
MAX_MAP_POSITIONS = 2048  # positions of a picture whose attention is kept whole
MAX_FACTOR = 64
# Of a mistake: what was expected, and the remedy.
SET = "Pictures", "read_pictures reads a folder"
ARRAY = "a picture as an array, uint8 [height, width, channels]", "image.files.pictures.read_picture reads a file"
SHIPPED = {"paint": "fashion", "complete": "fashion-complete", "upscale": "emoji-upscale"}


class Painter(Product):
    """A trained Transformer over subpixels, and the order of these.

    A decoder alone paints. An encoder-decoder completes, its source the picture with holes, or upscales, its source the
    small picture.

    >>> painter = Painter.load("fashion")                 # doctest: +SKIP
    >>> coats = painter.paint(16, label="coat", seed=1)   # doctest: +SKIP
    """

    codec_file, kind = FILE, "a model of pictures"

    def __init__(self, trained: Trained) -> None:
        """Read the codec of a model. Raises UserError where they do not fit each other."""
        self.trained, self.codec = trained, PictureCodec.from_bytes(trained.files[FILE])
        check_fit(trained.config, self.codec)

    @classmethod
    def new(
        cls,
        pictures: Pictures,
        *,
        task: Task = "paint",
        preset: str | None = None,
        factor: int = 4,
        seed: int = 1,
        device: str = "auto",
        threads: int | None = None,
        **changes: Any,
    ) -> Painter:
        """An untrained painter of pictures like these: their size, channels and classes.

        preset: without one "small-pixels" for RGB, where a pixel is a position, and "small" for grey or with another
        `cell`. factor: how many times an upscaling model enlarges. `changes` are fields of `Config`, by name, of
        `head` also a part; and `cell`, rows and subpixel columns at one position, or "pixel".
        """
        expect(pictures, Pictures, *SET)
        require("torch", "a new model")
        if preset is None:
            preset = usual_preset(pictures.pictures.shape[3], changes)
        one_of("task", task, SHIPPED)
        whole_number(factor, "factor", 2, MAX_FACTOR)
        height, width, channels = pictures.pictures.shape[1:]
        blank = PictureCodec(height, width, channels, labels=pictures.names, factor=factor if task == "upscale" else 1)
        config, codec = shaped(preset, task, blank, changes)
        from triptych.model.parameters import smooth_start

        files = {FILE: codec.to_bytes()}
        return cls(Trained.new(config, files, seed=seed, device=device, threads=threads, begin=smooth_start))

    def with_classes(self, names: Sequence[str], *, seed: int = 1) -> Painter:
        """The same painter with these classes, too, for further training: those that it has not are untrained."""
        if isinstance(names, str):
            raise UserError(f"expected a list of classes, got one text, {names!r}; put it in a list")
        new = [name for name, number in zip(names, self.codec.numbers(names), strict=True) if number < 0]
        if not new:
            return self
        module = self.module()
        from triptych.model.convert import with_classes

        labels = (*self.codec.labels, *new)
        codec = replace(self.codec, labels=labels)
        model = with_classes(module, len(labels), seed=seed)
        return Painter(self.trained.changed(model, files={FILE: codec.to_bytes()}))

    @property
    def task(self) -> Task:
        """The task that the model was made for."""
        if self.codec.factor > 1:
            return "upscale"
        return "complete" if self.config.encoder_layers else "paint"

    def check(self, task: Task, label: str | None = None) -> None:
        """Raise UserError unless the model was made for the task, and has the class."""
        if self.task != task:
            raise UserError(
                f"expected a model trained to {task}, got one trained to {self.task}; use --model {SHIPPED[task]}"
            )
        if label is not None:
            self.codec.label(label)

    def fit(
        self,
        pictures: Pictures,
        *,
        held_out: Pictures | None = None,
        recipe: Recipe,
        out: str | Path | RunFolder,
        resume: bool = False,
        augmentation: Augmentation | None = None,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on pictures and become the checkpoint with the lowest held-out loss, in nats a subpixel.

        Without `held_out`, every tenth picture is held out. For completion masks are drawn at random, and the loss is
        that of all subpixels, those that are given included.
        """
        check_recipe(recipe)
        if held_out is None:
            chosen = np.arange(len(pictures)) % HELD_OUT == HELD_OUT - 1
            pictures, held_out = pictures.only(~chosen), pictures.only(chosen)
        pictures, held_out = matched(pictures, self.codec), matched(held_out, self.codec)
        augmentation = augmentation or Augmentation()
        data = PictureData(
            pictures, self._reads, tokens_per_batch=recipe.tokens_per_batch, augmentation=augmentation, seed=recipe.seed
        )
        facts = {"task": self.task, "pictures": len(pictures), "augmentation": asdict(augmentation)}
        examples = {"the training pictures": _digest(pictures), "the held-out pictures": _digest(held_out)}
        package, checked = self.trained.package(card, facts, examples), held_out_batches(held_out, self._reads)
        return self.trained.fit(data, checked, recipe, out, package=package, resume=resume, quiet=quiet)

    def evaluate(
        self, pictures: Pictures, *, hidden: Mask | None = None, progress: Progress | None = None
    ) -> Likelihood:
        """The likelihood of pictures by the model: see `Likelihood`; those without labels, or of classes that
        the model has not, without a class.

        hidden [N, height, width]: what of each picture is to be found; only this counts then, given all the rest. A
        model that paints reads the rest only as far as it comes before.
        """
        model = self.trained.measured()
        pictures = matched(pictures, self.codec, strict=False)
        if self.task == "complete" and hidden is None:
            hidden = np.ones(pictures.pictures.shape[:3], bool)
        return likelihood(model, self._reads, pictures, hidden=hidden, progress=progress)

    def evaluate_enlargement(
        self,
        pictures: Pictures,
        *,
        samples: int = 5,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Enlargement:
        """Make pictures small by the box filter, enlarge each `samples` times, and compare: see `Enlargement`."""
        pictures = matched(pictures, self.codec, strict=False)
        small = shrunk(pictures.pictures, self.codec.factor)
        made = self.tries(small, samples, seed=seed, progress=progress)
        return enlargement(pictures.pictures, made, small)

    def tries(
        self,
        small: Pixels,
        samples: int,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Pixels:
        """So many large pictures of each of any number of small ones: [samples, N, height, width, channels]."""
        samples = whole_number(samples, "samples", 1)
        found = []
        for number in range(samples):
            made = []
            for first in range(0, len(small), ENLARGED_TOGETHER):
                some = small[first : first + ENLARGED_TOGETHER]
                seeds = [derive(seed, number, first + row) for row in range(len(some))]
                made.append(self.upscale_many(some, sampling=sampling, seed=seeds))
            found.append(np.concatenate(made))
            if progress is not None:
                progress(number + 1, samples)
        return np.stack(found)

    def paint(
        self,
        count: int = 1,
        *,
        label: str | Sequence[str] | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> Pixels:
        """New pictures: uint8 [count, height, width, channels]. label: the name of a class, or its number
        as text; or one for each picture.
        """
        (frame,) = self.stream(count, label=label, sampling=sampling, seed=seed, frames=1)
        return frame

    def stream(
        self,
        count: int = 1,
        *,
        label: str | Sequence[str] | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        frames: int = 16,
    ) -> Iterator[Pixels]:
        """The pictures of `paint` with the same settings while they are made: `frames` times, at last whole.

        Pixels that are not yet made are black.
        """
        self.check("paint")
        _check_count(count)
        frames = whole_number(frames, "frames", 1, self.codec.tokens)
        classes = self._classes(label, count)
        prefix = np.tile(np.where(self.codec.inside, FREE, 0), (count, 1))
        ids = np.zeros((count, self.codec.tokens), np.int64)
        shown = {self.codec.tokens * frame // frames for frame in range(1, frames + 1)}
        for number, column in enumerate(self._columns(prefix, None, classes, sampling, seed), 1):
            ids[:, number - 1] = column
            if number in shown:
                yield self.codec.decode(ids)

    def complete(
        self,
        picture: Pixels,
        hidden: Mask,
        *,
        count: int = 1,
        label: str | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> Pixels:
        """`count` pictures, uint8 [count, height, width, channels], each the given one [height, width, channels] with
        its hidden part, bool [height, width], filled; every other pixel is as it was.
        """
        self.check("complete")
        _check_count(count)
        expect(picture, np.ndarray, *ARRAY)
        source = self.codec.encode_source(picture[None], np.asarray(hidden, bool)[None]).repeat(count, 0)
        classes = self._classes(label, count)
        prefix = np.where(source == HOLE, FREE, source)
        return self._whole(prefix, source, classes, sampling, seed)

    def upscale(
        self,
        small: Pixels,
        *,
        count: int = 1,
        label: str | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> Pixels:
        """`count` large pictures, uint8 [count, height, width, channels], of a small one [height / factor, width /
        factor, channels]. label: what it shows, the name of a class.
        """
        _check_count(count)
        expect(small, np.ndarray, *ARRAY)
        return self.upscale_many(np.repeat(small[None], count, 0), label=label, sampling=sampling, seed=seed)

    def upscale_many(
        self,
        small: Pixels,
        *,
        label: str | Sequence[str] | None = None,
        sampling: Sampling | None = None,
        seed: int | Sequence[int] = 0,
    ) -> Pixels:
        """A large picture for each of N small ones [N, height / factor, width / factor, channels], which it becomes
        again when it is made small, exactly (`fitted`). label, seed: one of all, or one for each.
        """
        self.check("upscale")
        expect(small, np.ndarray, *ARRAY)
        _check_count(len(small))
        source = self._reads.source(None, small=small)
        assert source is not None
        prefix = np.tile(np.where(self.codec.inside, FREE, 0), (len(small), 1))
        classes = None if label is None else self._classes(label, len(small))
        return fitted(self._whole(prefix, source, classes, sampling, seed), small)

    def attention(self, picture: Pixels, *, label: str | None = None, hidden: Mask | None = None) -> list[Map]:
        """Attention of the decoder's layers while it writes a picture: each [1, heads, positions, positions].

        Row i writes position i, in the order of the codec; column j has read position j - 1, column 0 nothing. A model
        that completes is shown what is not hidden, bool [height, width]; nothing of the picture, if that is None.
        """
        expect(picture, np.ndarray, *ARRAY)
        if (count := self.codec.positions) > MAX_MAP_POSITIONS:
            raise UserError(f"expected a model of at most {MAX_MAP_POSITIONS:,} positions to look into, got {count:,}")
        labels = np.array([-1 if label is None else self.codec.label(label)])
        small = shrunk(picture[None], self.codec.factor) if self.task == "upscale" else None
        hidden = np.ones(picture.shape[:2], bool) if hidden is None else hidden
        source = self._reads.source(picture[None], hidden[None], small)
        ids = self.codec.encode(picture[None])
        return self.trained.decoder().attention(ids, source=source, label=labels).decoder

    # -- parts --------------------------------------------------------------------------------------------------------

    @property
    def _reads(self) -> PictureModel:
        return PictureModel(self.codec, self.task, self.config.aligned)

    def _classes(self, label: str | Sequence[str] | None, count: int) -> Ids:
        """The classes of so many pictures: int64 [count], -1 without a label."""
        several = isinstance(label, Iterable) and not isinstance(label, str | bytes)
        names: list[Any] = list(label) if several and label is not None else [label] * count
        if len(names) != count:
            raise UserError(f"expected one label, or one for each of {count} pictures, got {len(names)}")
        numbers = [-1 if name is None else self.codec.label(name) for name in names]
        return np.array(numbers)

    def _columns(
        self, prefix: Ids, source: Ids | None, label: Ids | None, sampling: Sampling | None, seed: int | Sequence[int]
    ) -> Iterator[Ids]:
        """Tokens [rows] of all pictures, one after another."""
        decoder, length = self.trained.decoder(), self.codec.tokens
        return generate(
            decoder,
            decoder.start(length=length, rows=len(prefix), source=source, label=label),
            steps=length,
            sampling=sampling or self.trained.usual,
            seed=seed,
            prefix=prefix,
        )

    def _whole(
        self, prefix: Ids, source: Ids | None, label: Ids | None, sampling: Sampling | None, seed: int | Sequence[int]
    ) -> Pixels:
        columns = list(self._columns(prefix, source, label, sampling, seed))
        return self.codec.decode(np.stack(columns, 1))


def _digest(pictures: Pictures) -> str:
    labels = [] if pictures.labels is None else [pictures.labels]
    return digest_of([pictures.pictures, *labels, *map(str.encode, pictures.names)])


def _check_count(count: int) -> None:
    whole_number(count, "the number of pictures at once", 1, MAX_COUNT)
