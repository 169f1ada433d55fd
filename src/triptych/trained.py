"""What a translator, a painter, a composer and a pianist hold: a model with its codec's file and its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.model.device import check_device, use_device
from triptych.shape.config import Config
from triptych.shape.store import Stored, another_kind, read_model
from triptych.train.run.package import Package, card_of_run

if TYPE_CHECKING:
    from triptych.model.batch import Batch
    from triptych.model.decoder import TorchDecoder
    from triptych.model.transformer import Transformer
    from triptych.train.loop import Data, Measure
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome


class Trained:
    """A model, loaded or new, with its codec's files by name and its card.

    Loading reads and verifies the folder and imports no torch; `module` makes the Transformer at first use. exact: one
    row alone too is generated in the model's own number format, not with matrices in float16.
    """

    def __init__(
        self,
        model: Transformer | Stored,
        files: Mapping[str, bytes],
        card: Mapping[str, Any] | None = None,
        *,
        exact: bool = False,
        place: tuple[str, int | None, str] = ("auto", None, "auto"),
    ) -> None:
        """Join a model to its codec's files. place: device, threads and dtype of one that is stored."""
        self.config: Config = model.config
        self.files, self.card, self.exact = dict(files), dict(card or {}), exact
        self._model, self._place = model, place

    @classmethod
    def load(cls, name: str | Path, file: str, what: str, *, device: str, threads: int | None, dtype: str) -> Trained:
        """Load a shipped name, a model folder, a run's best checkpoint, or `hf:owner/name`.

        Raises UserError as `read_model` and `check_device`, and for a model of another kind than `what` ("a
        translator"), whose codec has that file.
        """
        check_device(device, threads, dtype)
        stored = read_model(name)
        if file not in stored.files:
            raise another_kind(what, name, stored.card)
        # Who asks for a number format gets no other.
        return cls(stored, stored.files, stored.card, exact=dtype != "auto", place=(device, threads, dtype))

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
        import torch

        from triptych.model.transformer import Transformer

        where, _ = use_device(device, threads, "float32")
        torch.manual_seed(seed)
        model = Transformer(config)
        if begin is not None:
            begin(model)
        return cls(model.to(where), files)

    def module(self) -> Transformer:
        """The Transformer in torch, made at first use. UserError where stored weights do not fit the configuration."""
        if isinstance(self._model, Stored):
            from triptych.model.weights import transformer_of

            where, number = use_device(*self._place)
            self._model = transformer_of(self._model).to(where, number)
        return self._model

    def decoder(self) -> TorchDecoder:
        """What generates with the model."""
        from triptych.model.decoder import TorchDecoder

        return TorchDecoder(self.module(), exact=self.exact)

    def changed(
        self, model: Transformer, *, files: Mapping[str, bytes] | None = None, card: Mapping[str, Any] | None = None
    ) -> Trained:
        """The same with another Transformer (see `triptych.model.convert`), and with other files or another card."""
        return Trained(
            model, self.files if files is None else files, self.card if card is None else card, exact=self.exact
        )

    def save(self, folder: str | Path, dtype: str, card: Mapping[str, Any]) -> None:
        """Write the model folder; entries of `card` are added to the card. float16 halves the file."""
        from triptych.model.weights import save_transformer

        check_device("cpu", None, dtype)
        number = "float32" if dtype == "auto" else dtype
        save_transformer(folder, self.module(), self.files, {**self.card, **card}, number)

    def package(
        self,
        asked: Mapping[str, Any] | None,
        facts: Mapping[str, Any],
        examples: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
    ) -> Package:
        """What a run of this model keeps: see `Package`, and for its card `card_of_run`."""
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
        outcome = fit(model, data, held_out, recipe, out, package=package, measure=measure, resume=resume, quiet=quiet)
        best = read_model(outcome.folder)
        model.load_state_dict(tensors_of(best))
        model.eval()
        self.card = best.card
        return outcome
