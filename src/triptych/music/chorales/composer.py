"""The product of the music panel: load or train a composer; compose, continue, harmonize, fill in, measure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from triptych.decode.maps import Map
from triptych.errors import UserError, expect, whole_number
from triptych.generation.protocol import Ids
from triptych.generation.sampling import PLAIN, Sampling
from triptych.generation.seeds import derive
from triptych.music.chorales.augmentation import AUGMENTED, Augmentation
from triptych.music.chorales.codec import (
    FILE,
    SILENT,
    TEMPO,
    UNKNOWN,
    VOICES,
    ChoraleCodec,
    Grid,
    from_piece,
    to_piece,
    voice_numbers,
)
from triptych.music.chorales.data import ChoraleData, Distillation, held_out_pieces, listed
from triptych.music.chorales.given import (
    Given,
    Report,
    Transpose,
    given_melody,
    given_voices,
    lower_voices,
    read_given,
    silent,
)
from triptych.music.chorales.grammar import BACH, Rules
from triptych.music.chorales.labels import LABELS, Label, read_label
from triptych.music.chorales.presets import shaped
from triptych.music.chorales.sampler import ChoraleSampler
from triptych.music.chorales.score import likelihood
from triptych.music.files.folder import HELD_OUT
from triptych.music.likelihood import Likelihood
from triptych.music.piece.key import Key
from triptych.music.piece.piece import Note, Piece
from triptych.music.piece.upbeat import in_bars
from triptych.train.recipe import Recipe
from triptych.train.run.inputs import digest_of
from triptych.train.run.package import unmeasured
from triptych.trained import Product, Trained, check_recipe, check_vocabularies

if TYPE_CHECKING:
    from triptych.model.transformer import Transformer
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

Task = Literal["compose", "infill"]
MAX_MAPPED_STEPS = 512  # steps of a piece whose attention is kept whole
COMPOSED_TOGETHER = 128  # pieces side by side, of many


class Composer(Product):
    """A trained Transformer over chorales, and its vocabulary.

    A decoder alone composes and continues; an encoder-decoder, whose source is a piece with holes, harmonizes and fills
    in.

    >>> composer = Composer.load("chorales")                      # doctest: +SKIP
    >>> save_music(composer.compose(label="minor", seed=7), "out.mid")   # doctest: +SKIP
    """

    codec_file, kind = FILE, "a model of chorales"

    def __init__(self, trained: Trained) -> None:
        """Read the codec of a model. Raises UserError unless both count the same vocabulary, and for a model with some
        of the labels alone.
        """
        config, codec = trained.config, ChoraleCodec.from_bytes(trained.files[FILE])
        expected = codec.source_vocabulary if config.encoder_layers else None
        check_vocabularies(config, codec.vocabulary, expected, "notes", self.kind)
        if config.positions.kind == "learned":
            raise UserError("expected positions without an end, got learned ones; use sinusoidal, concatenated or none")
        if config.positions.metre and config.input.size != 4:
            raise UserError("expected a position a moment (input.size=4) with positions.metre, got another; set both")
        if config.classes not in (0, LABELS):
            raise UserError(
                f"expected classes={LABELS} (major, minor, 24 keys) or 0, got {config.classes}; leave it out"
            )
        self.trained, self.codec = trained, codec
        self.rules: Rules = BACH  # of the grammar by which notes are drawn

    @classmethod
    def new(
        cls,
        *,
        task: Task = "compose",
        preset: str = "small",
        order: Sequence[str] = VOICES,
        seed: int = 1,
        device: str = "auto",
        threads: int | None = None,
        **changes: Any,
    ) -> Composer:
        """An untrained composer. order: of the voices within a moment. `changes` are fields of `Config`, by name; for
        infilling, an encoder as deep as the decoder unless they say otherwise.
        """
        config, files = shaped(preset, task, changes), {FILE: ChoraleCodec(order).to_bytes()}
        return cls(Trained.new(config, files, seed=seed, device=device, threads=threads))

    def with_encoder(self, layers: int, *, seed: int = 1) -> Composer:
        """This composer and an untrained encoder of so many layers, drawn by `seed`: what is to be trained to harmonize
        and to fill in. UserError where there is one already.
        """
        module = self.module()
        from triptych.model.convert import with_encoder

        model = with_encoder(module, self.codec.source_vocabulary, layers, seed=seed)
        return self._unmeasured(model, task="infill")

    def with_metre(self, longest: int) -> Composer:
        """This composer with the metre as input, for further training: bars of up to so many sixteenths. UserError
        where it has that of other bars already.
        """
        module, longest = self.module(), whole_number(longest, "positions.metre", 1)
        from triptych.model.convert import with_metre

        known = self.config.positions.metre
        if known not in (0, longest):
            raise UserError(f"expected positions.metre={known}, as the model has it, got {longest}; leave it out")
        return self._unmeasured(with_metre(module, longest))

    def with_order(self, order: Sequence[str]) -> Composer:
        """A copy whose voices follow each other in another order within a moment: what is read of a moment stays as it
        is, and which of its voices a note may depend on has to be learned. UserError for a model of a note a position.
        """
        module = self.module()
        from triptych.model.convert import with_order

        codec = ChoraleCodec(order)
        model = with_order(module, [self.codec.order.index(name) for name in codec.order])
        return self._unmeasured(model, {FILE: codec.to_bytes()})

    def _unmeasured(self, model: Transformer, files: Mapping[str, bytes] | None = None, **card: str) -> Composer:
        """The composer with another Transformer, of which no scores are known."""
        return Composer(self.trained.changed(model, files=files, card={**unmeasured(self.card), **card}))

    @property
    def task(self) -> Task:
        """What the model was made for."""
        return "infill" if self.config.encoder_layers else "compose"

    def fit(
        self,
        grids: Sequence[Grid],
        *,
        held_out: Sequence[Grid] | None = None,
        recipe: Recipe,
        out: str | Path | RunFolder,
        resume: bool = False,
        length: int = 1024,
        augmentation: Augmentation = AUGMENTED,
        distillation: Distillation | None = None,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on chorales and become the checkpoint with the lowest held-out loss.

        `length` is that of the crops in tokens. Without `held_out`, every tenth piece is held out. What counts is
        the negative log-likelihood of whole held-out pieces as `evaluate` takes it, but for infilling that of all four
        voices. distillation: soft targets of trained composers for this task.
        """
        check_recipe(recipe)
        grids = listed(grids)
        if held_out is None:
            held_out = grids[HELD_OUT - 1 :: HELD_OUT]
            grids = [grid for number, grid in enumerate(grids, 1) if number % HELD_OUT]
        data = ChoraleData(
            grids,
            self.codec,
            task=self.task,
            tokens_per_batch=recipe.tokens_per_batch,
            length=length,
            augmentation=augmentation,
            distillation=distillation,
            metre=self.config.positions.metre,
            seed=recipe.seed,
        )
        facts: dict[str, Any] = {"task": self.task, "pieces": len(data), "crop": length}
        facts |= {"transposed": augmentation.transpose, "labelled": augmentation.label}
        facts |= {name: share for name in ("rests", "shift", "thin") if (share := getattr(augmentation, name))}
        examples = {"the training pieces": digest_of(grids), "the held-out pieces": digest_of(held_out)}
        settings = {} if distillation is None else {"share": distillation.share, "composed": len(distillation.composed)}
        package = self.trained.package(card, facts, examples, settings)
        checked = held_out_pieces(held_out, self.codec, self.task)
        return self.trained.fit(data, checked, recipe, out, package=package, resume=resume, quiet=quiet)

    def composed(self, count: int, *, seed: int = 1) -> list[Grid]:
        """Grids of so many different pieces, drawn plainly, to train another model with."""
        seeds = [derive(seed, piece) for piece in range(whole_number(count, "the number of pieces"))]
        batches = [seeds[first : first + COMPOSED_TOGETHER] for first in range(0, count, COMPOSED_TOGETHER)]
        pieces = [one for batch in batches for one in self.compose_many(len(batch), seed=batch, sampling=PLAIN)]
        return [from_piece(piece)[0] for piece in pieces]

    def evaluate(self, grids: Sequence[Grid], *, transposition_ensemble: bool = False) -> Likelihood:
        """Negative log-likelihood as `likelihood` counts it; for an infilling model, of three voices given the fourth
        (the soprano). transposition_ensemble: by the mean of the probabilities in twelve keys, at twelve times the
        cost.

        The metre is withheld. For a model with the metre as input, `with_metre` has the figures with it.
        """
        model, grids = self.trained.measured(), listed(grids)
        pieces = held_out_pieces(grids, self.codec, self.task)
        found = likelihood(model, pieces, codec=self.codec, ensemble=transposition_ensemble)
        metre = self.config.positions.metre
        if not metre or transposition_ensemble:
            return found
        known = held_out_pieces(grids, self.codec, self.task, metre=metre)
        return replace(found, with_metre=likelihood(model, known, codec=self.codec))

    def compose(
        self,
        *,
        label: str | None = None,
        steps: int | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        tempo: float = TEMPO,
    ) -> Piece:
        """A piece from nothing. label: "major", "minor", or a key such as "G minor". steps: sixteenths; without, the
        piece ends where the model ends it.
        """
        (piece,) = self.compose_many(1, label=label, steps=steps, sampling=sampling, seed=seed, tempo=tempo)
        return piece

    def compose_many(
        self,
        count: int,
        *,
        label: str | None = None,
        steps: int | None = None,
        sampling: Sampling | None = None,
        seed: int | Sequence[int] = 0,
        tempo: float = TEMPO,
    ) -> list[Piece]:
        """`count` different pieces, side by side, of one seed or one for each.

        The first is that of `compose` with the same settings, unless the rounding of half precision there makes a draw
        fall to another note.
        """
        Piece((), tempo=tempo)  # one that is none is refused before any piece is composed
        count = whole_number(count, "the number of pieces", 1)
        columns = list(self._composed(label, steps, sampling, seed, count))
        pieces = (to_piece(self.codec.decode(ids), tempo) for ids in np.stack(columns, 1).tolist())
        return [in_bars(replace(piece, pickup=None))[0] for piece in pieces]  # as when it is read again

    def continue_(
        self,
        primer: str | Path | Piece,
        *,
        label: str | None = None,
        steps: int | None = None,
        transpose: Transpose = "auto",
        only_new: bool = False,
        sampling: Sampling | None = None,
        seed: int = 0,
        report: Report = silent,
    ) -> Piece:
        """The primer, a MIDI file or a piece, and what the model adds in all four voices: a sixteenth or more.

        For voices that the primer has not, the model imagines notes, which it goes on from and which are not written.
        label: as of `compose`. steps: sixteenths of the whole; without, the piece ends where the model ends it.
        transpose, report: see `given_voices`. only_new: what is added alone.
        """
        self._must("compose", "composing and continuing", "chorales")
        given, kind = self._labelled(given_voices(read_given(primer, report), transpose, report), label)
        missing = given.missing
        if missing.any():
            *most, last = (name for name, one in zip(VOICES, missing.tolist(), strict=True) if one)
            who = f"{', '.join(most)} and {last} begin" if most else f"{last} begins"
            report(f"{who} where the music goes on; harmonize or infill write from the beginning")
        read = np.where(missing, UNKNOWN, given.grid)
        columns = self._sampler.compose(kind, steps, sampling, seed, primer=read, **given.place())
        grid = self.codec.decode(int(column[0]) for column in columns)
        grid[: len(read), missing] = SILENT
        return given.added(grid) if only_new else given.answer(grid)

    def stream(
        self, *, label: str | None = None, steps: int | None = None, sampling: Sampling | None = None, seed: int = 0
    ) -> Iterator[Note]:
        """The notes of `compose` with the same settings, each as soon as its end is known (in sixteenths)."""
        return self.codec.heard(int(column[0]) for column in self._composed(label, steps, sampling, seed))

    def harmonize(
        self,
        melody: str | Path | Piece,
        *,
        label: str | None = None,
        transpose: Transpose = "auto",
        only_new: bool = False,
        sampling: Sampling | None = None,
        seed: int = 0,
        report: Report = silent,
    ) -> Piece:
        """The melody of a MIDI file or piece as a soprano over three voices that begin and end with it.

        label: its key, or major or minor; without, the key of its signature or the one that is found. transpose,
        report: see `given_melody`. only_new: alto, tenor and bass alone.
        """
        self._must("infill", "harmonizing and filling in", "chorales-infill")
        given, kind = self._labelled(given_melody(read_given(melody, report), transpose, report), label)
        piece = given.answer(self._filled(given, given.grid, kind, sampling, seed))
        return lower_voices(piece) if only_new else piece

    def infill(
        self,
        piece: str | Path | Piece,
        voices: str | Iterable[str],
        *,
        first: int | None = None,
        last: int | None = None,
        transpose: Transpose = "auto",
        sampling: Sampling | None = None,
        seed: int = 0,
        report: Report = silent,
    ) -> Piece:
        """The piece with some voices written anew from bar `first` to bar `last`, both included.

        Bars are counted from 1 as in a score: an upbeat is bar 0. Every other note comes back as it was, on the grid.
        For voices that the piece has not, the model imagines notes, which it goes by and which are not written.
        transpose, report: see `given_voices`.
        """
        self._must("infill", "harmonizing and filling in", "chorales-infill")
        given = given_voices(read_given(piece, report), transpose, report)
        cells = np.zeros(given.grid.shape, bool)
        cells[given.span(first, last), voice_numbers(voices)] = True
        return self._infilled(given, cells, sampling, seed)

    def infill_cells(
        self,
        piece: Piece,
        cells: NDArray[np.bool_],
        *,
        transpose: Transpose = "auto",
        sampling: Sampling | None = None,
        seed: int = 0,
        report: Report = silent,
    ) -> Piece:
        """The piece with some sixteenths of its voices written anew, those of `cells`, bool [sixteenths, 4], counted
        from its beginning; else as `infill`.
        """
        self._must("infill", "harmonizing and filling in", "chorales-infill")
        if cells.shape[1:] != (4,) or not cells.any():
            raise UserError("expected cells [sixteenths, 4] to fill in, got none; choose some")
        given = given_voices(piece, transpose, report, begin=int(cells.any(1).argmax()))
        own = np.zeros(given.grid.shape, bool)
        at = np.arange(len(own)) + given.before  # sixteenths of the piece
        inside = (at >= 0) & (at < len(cells))
        own[inside] = cells[at[inside]]
        own[: given.early] = own[given.early]  # which repeat the first sixteenth
        return self._infilled(given, own, sampling, seed)

    def fill(self, grid: Grid, *, sampling: Sampling | None = None, seed: int = 0) -> Grid:
        """The grid [steps, 4] with its unknown notes (-2) found, given all the others, which stay as they are."""
        self._must("infill", "harmonizing and filling in", "chorales-infill")
        return self._sampler.fill(grid, sampling, seed)

    def attention(self, grid: Grid) -> list[Map]:
        """Attention of the decoder's layers while it writes a grid [steps, 4]: each [1, heads, positions, positions].

        A position is a sixteenth of all voices, or a note for models that read tokens. Row i writes position i;
        column j has read position j - 1, column 0 nothing. An infilling model reads all notes.
        """
        expect(grid, np.ndarray | list, "a grid [steps, 4]", "music.codec.from_piece makes one")
        if len(grid) > MAX_MAPPED_STEPS:
            raise UserError(
                f"expected at most {MAX_MAPPED_STEPS} sixteenths to look at, got {len(grid):,}; cut the piece"
            )
        ids = self.codec.encode(grid)[None]
        return self.trained.decoder().attention(ids, source=ids if self.task == "infill" else None).decoder

    # -- parts --------------------------------------------------------------------------------------------------------

    def _composed(
        self, label: str | None, steps: int | None, sampling: Sampling | None, seed: int | Sequence[int], rows: int = 1
    ) -> Iterator[Ids]:
        """Tokens [rows] of one position after another."""
        self._must("compose", "composing and continuing", "chorales")
        return self._sampler.compose(self._label(label), steps, sampling, seed, rows=rows)

    def _labelled(self, given: Given, label: str | None) -> tuple[Given, Label | None]:
        """What is given, in the key of the label if that is one, and the label as the model reads it."""
        kind = self._label(label)
        if not isinstance(kind, Key):
            return given, kind
        given = given.in_key(kind)
        return given, given.read_key()

    def _filled(self, given: Given, grid: Grid, label: Label | None, sampling: Sampling | None, seed: int) -> Grid:
        """A grid of what is given with its unknown notes found, in its key: a model with labels has that label."""
        kind = given.read_key() if label is None and self._knows_labels else label
        return self._sampler.fill(grid, sampling, seed, label=kind, key=given.ending_key(), **given.place())

    def _infilled(self, given: Given, cells: NDArray[np.bool_], sampling: Sampling | None, seed: int) -> Piece:
        """The answer with cells of the grid, bool [steps, 4], written anew."""
        imagined = np.repeat(given.missing[None], len(given.grid), 0) & ~cells
        found = self._filled(given, np.where(imagined | cells, UNKNOWN, given.grid), None, sampling, seed)
        found[: len(imagined)][imagined] = SILENT
        return replace(given, struck=given.struck & ~cells).answer(found)

    def _must(self, task: Task, what: str, shipped: str) -> None:
        if self.task != task:
            kind = "a decoder alone" if task == "compose" else "an encoder-decoder trained on pieces with holes"
            raise UserError(f"expected {kind} for {what}, got a model of the other kind; use --model {shipped}")

    @property
    def _sampler(self) -> ChoraleSampler:
        return ChoraleSampler(self.trained, self.codec, self.rules)

    @property
    def _knows_labels(self) -> bool:
        return bool(self.config.classes) and self.card.get("labelled") is not False

    def _label(self, text: str | None) -> Label | None:
        """The mode or key that a label names, if the model has labels."""
        if text is not None and not self._knows_labels:
            raise UserError(f"expected a model with labels for --label {text}, got one without; leave the label out")
        return None if text is None else read_label(text)
