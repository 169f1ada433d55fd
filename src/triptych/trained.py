"""A model with its codec's file and its card, and the base of translator, painter, composer and pianist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict, TypeVar, Unpack, get_args

from triptych.errors import UserError, expect, shown
from triptych.extras import require
from triptych.fields import parsed
from triptych.model.device import check_device, use_device
from triptych.shape.config import Config
from triptych.shape.pattern import Pattern
from triptych.shape.settings import check_names
from triptych.shape.store import Stored, another_kind, misfit, read_model
from triptych.train.recipe import Recipe
from triptych.train.run.package import Package, card_of_run, unmeasured

if TYPE_CHECKING:
    from triptych.decode.decoder import Decoder
    from triptych.decode.interpreter import PlanDecoder
    from triptych.generation.sampling import Sampling
    from triptych.model.batch import Batch
    from triptych.model.transformer import Transformer
    from triptych.train.loop import Data, Measure
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

Engine = Literal["auto", "plan", "torch"]
Item = TypeVar("Item")
Made = TypeVar("Made")


class Place(TypedDict, total=False):
    """Where and how a stored model computes.

    device: auto, cpu, cuda, cuda:1, mps. threads: of the processor. None: a plan takes one, and
    for batches of lines all there are; torch chooses.
    dtype: auto, float32, bfloat16, float16, float64.
    engine: "auto" generates with the plan, in numpy on the CPU, unless another device or dtype is asked for, which
    takes torch, and measures with torch; "plan" and "torch" do both.
    """

    device: str
    threads: int | None
    dtype: str
    engine: Engine


class Trained:
    """A model, loaded or new, with its codec's files by name and its card.

    Loading reads and verifies the folder and imports no torch, and neither does what generates with a model as it is
    stored; `module` makes the Transformer at first use, to train, to measure, and for another device or number format.
    """

    def __init__(
        self,
        model: Transformer | Stored,
        files: Mapping[str, bytes],
        card: Mapping[str, Any] | None = None,
        *,
        place: Place | None = None,
    ) -> None:
        """Join a model to its codec's files. place: of one that is stored."""
        self.config: Config = model.config
        self.files, self.card = dict(files), dict(card or {})
        self._stored = model if isinstance(model, Stored) else None
        self._module = None if isinstance(model, Stored) else model
        self._place = place or Place()
        self._plan: PlanDecoder | None = None

    @classmethod
    def load(cls, name: str | Path, file: str, what: str, **place: Unpack[Place]) -> Trained:
        """Load a shipped name, a model folder, a run's best checkpoint, or `hf:owner/name`.

        Raises UserError as `read_model` and `check_device`, for a model of another kind than `what` ("a translator"),
        whose codec has that file, and for weights that do not fit the configuration.
        """
        _check_place(place)
        if not _plans(place):
            require("torch", f"dtype {place.get('dtype', 'auto')} and engine {place.get('engine', 'auto')}")
        stored = read_model(name)
        if file not in stored.files:
            raise another_kind(what, name, stored.card)
        _check_fit(stored, place)
        return cls(stored, stored.files, stored.card, place=place)

    @classmethod
    def new(
        cls,
        config: Config,
        files: Mapping[str, bytes],
        *,
        seed: int,
        device: str,
        threads: int | None,
        begin: Callable[[Transformer], None] | None = None,
    ) -> Trained:
        """An untrained model, whose parameters are drawn by `seed` and changed by `begin`."""
        require("torch", "a new model")
        import torch

        from triptych.model.transformer import Transformer

        where, _ = use_device(device, threads, "float32")
        torch.manual_seed(seed)
        model = Transformer(config)
        if begin is not None:
            begin(model)
        return cls(model.to(where), files)

    @property
    def usual(self) -> Sampling:
        """How the model draws where nothing else is asked for: by `sampling` of its card, else plainly. UserError for
        what is no sampling.
        """
        from triptych.generation.sampling import Sampling

        return parsed(Sampling, self.card.get("sampling", {}), "the sampling of the card")

    def module(self) -> Transformer:
        """The Transformer in torch, made at first use."""
        if self._module is None:
            require("torch", "training, changing or saving a model")
            from triptych.model.weights import transformer_of

            assert self._stored is not None
            where, number = use_device(*_asked(self._place))
            self._module = transformer_of(self._stored).to(where, number)
        return self._module

    def decoder(self) -> Decoder:
        """The decoder for generation."""
        if self._stored is not None and _plans(self._place):
            return self._planned(self._stored)
        from triptych.model.decoder import TorchDecoder

        return TorchDecoder(self.module())

    @property
    def workers(self) -> int:
        """How many threads may use `decoder` at once: of a plan as many as are asked for, or a processor has."""
        self.decoder()
        return 1 if self._plan is None else self._place.get("threads") or os.cpu_count() or 1

    def together(self, work: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
        """The results of independent work with `decoder`, in order, by up to `workers` threads."""
        workers = min(self.workers, len(items))
        if workers < 2:
            yield from map(work, items)
            return
        from concurrent.futures import ThreadPoolExecutor

        assert self._plan is not None
        with self._plan.one_thread_each(), ThreadPoolExecutor(workers) as pool:
            yield from pool.map(work, items)

    def measured(self) -> Transformer:
        """The model for measuring likelihoods. UserError where there is no torch."""
        require("torch", "measuring a model", "eval")
        if self._stored is None or self._place.get("engine") != "plan":
            return self.module()
        from triptych.model.planned import PlannedTransformer

        return PlannedTransformer(self._planned(self._stored))

    def _planned(self, stored: Stored) -> PlanDecoder:
        """The plan, made at first use."""
        if self._plan is None:
            from triptych.decode.interpreter import limit_threads
            from triptych.decode.kernel import decoder_of
            from triptych.decode.plan import plan_of

            threads = self._place.get("threads") or 1
            limit_threads(1)  # numpy's products are small: threads gain only where the kernel or `together` shares out
            self._plan = decoder_of(plan_of(stored.config, stored.weights), stored.weights, threads)
        return self._plan

    def changed(
        self, model: Transformer, *, files: Mapping[str, bytes] | None = None, card: Mapping[str, Any] | None = None
    ) -> Trained:
        """The same with another Transformer (see `triptych.model.convert`), and with other files or another card."""
        return Trained(model, self.files if files is None else files, self.card if card is None else card)

    def save(self, folder: str | Path, dtype: str, card: Mapping[str, Any]) -> None:
        """Write the model folder; entries of `card` are added to the card. float16 halves the file."""
        module = self.module()
        from triptych.model.weights import save_transformer

        check_device("cpu", None, dtype)
        number = "float32" if dtype == "auto" else dtype
        save_transformer(folder, module, self.files, {**self.card, **card}, number)

    def package(
        self,
        asked: Mapping[str, Any] | None,
        facts: Mapping[str, Any],
        examples: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
    ) -> Package:
        """The package of a run of this model: see `Package`, and for its card `card_of_run`."""
        return Package(self.files, card_of_run(self.card, asked or {}, facts), examples, settings or {})

    def fit(
        self,
        data: Data,
        held_out: Sequence[Batch],
        recipe: Recipe,
        out: str | Path | RunFolder,
        *,
        package: Package,
        measure: Measure | None = None,
        resume: bool,
        quiet: bool,
    ) -> Outcome:
        """Train as `triptych.train.loop.fit` and become the best checkpoint, for use."""
        from triptych.model.weights import tensors_of
        from triptych.train.loop import fit

        model = self.module()
        self._stored = None  # from now on the model is another one
        outcome = fit(model, data, held_out, recipe, out, package=package, measure=measure, resume=resume, quiet=quiet)
        best = read_model(outcome.folder)
        model.load_state_dict(tensors_of(best))
        model.eval()
        self.card = best.card
        return outcome


class Product:
    """A model of one panel with its codec: the base of translator, painter, composer and pianist.

    codec_file: the name of the codec's file in a model folder. kind: what error messages call such a model.
    """

    codec_file: ClassVar[str]
    kind: ClassVar[str]

    def __init__(self, trained: Trained) -> None:
        """Read the codec of a model. Raises UserError where they do not fit each other."""
        self.trained = trained

    @classmethod
    def load(cls, name: str | Path, **place: Unpack[Place]) -> Self:
        """Load a shipped name, a model folder, a run's best checkpoint, or `hf:owner/name`. place: see `Place`."""
        return cls(Trained.load(name, cls.codec_file, cls.kind, **place))

    @property
    def card(self) -> dict[str, Any]:
        """The model's card: its data, scores and licence."""
        return self.trained.card

    @property
    def config(self) -> Config:
        """The configuration of the model."""
        return self.trained.config

    @property
    def usual(self) -> Sampling:
        """How the model draws where nothing else is asked for: by `sampling` of its card, else plainly. UserError for
        what is no sampling.
        """
        return self.trained.usual

    def module(self) -> Transformer:
        """The Transformer in torch, made at first use."""
        return self.trained.module()

    def save(self, folder: str | Path, *, dtype: str = "float32", **card: Any) -> None:
        """Write the model folder; `card` entries are added to the card. float16 halves the file."""
        self.trained.save(folder, dtype, card)

    def with_dropout(self, probability: float | None = None, word_dropout: float | None = None) -> Self:
        """The same with another dropout, or another `input.word_dropout`, for further training."""
        module = self.module()
        from triptych.model.convert import with_dropout

        return type(self)(self.trained.changed(with_dropout(module, probability, word_dropout)))

    def with_pattern(self, pattern: Pattern | Mapping[str, Any]) -> Self:
        """The same with another pattern: a local one keeps to the distances that crops have taught."""
        module = self.module()
        from triptych.model.convert import with_pattern

        return type(self)(self.trained.changed(with_pattern(module, pattern), card=unmeasured(self.card)))


def check_vocabularies(config: Config, vocabulary: int, source: int | None, unit: str, kind: str) -> None:
    """Raise UserError unless a model counts so many units (notes, ...) in its target and, if it has one, its source."""
    if (config.vocabulary, config.source_vocabulary) != (vocabulary, source):
        raise UserError(
            f"expected a model of {vocabulary} {unit} (source: {source}), got {config.vocabulary} "
            f"(source: {config.source_vocabulary}); load {kind}"
        )


def check_recipe(recipe: object) -> None:
    """Raise UserError unless there is torch to train with, and a recipe."""
    require("torch", "training a model")
    expect(recipe, Recipe, "a Recipe", "try Recipe(epochs=1)")


def _check_place(place: Place) -> None:
    """Raise UserError for a name that is none of `Place`, or a value that cannot be."""
    check_names("place", place, list(Place.__annotations__))
    if place.get("engine", "auto") not in get_args(Engine):
        raise UserError(f"expected an engine auto, plan or torch, got {shown(place['engine'])}; leave it out")
    check_device(*_asked(place))


def _check_fit(stored: Stored, place: Place) -> None:
    """Raise UserError where stored weights do not fit the configuration, or the plan that is to generate has no form
    for a setting.
    """
    from triptych.decode.plan import check_plan

    try:
        check_plan(stored.config, stored.weights)
    except UserError:
        if _plans(place):  # torch may have a form for it
            raise
    except ValueError as error:
        raise misfit(stored.folder, error) from None


def _plans(place: Place) -> bool:
    """Whether the plan of stored weights generates."""
    device, _, dtype = _asked(place)
    engine = place.get("engine", "auto")
    return engine == "plan" or (engine == "auto" and device in ("auto", "cpu") and dtype == "auto")


def _asked(place: Place) -> tuple[str, int | None, str]:
    """Device, threads and dtype."""
    return place.get("device", "auto"), place.get("threads"), place.get("dtype", "auto")
