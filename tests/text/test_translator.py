from pathlib import Path

import pytest
import torch

from triptych.errors import UserError
from triptych.generation.beam import LengthPenalty
from triptych.generation.sampling import Sampling
from triptych.model.batch import Batch
from triptych.text.codec import TextCodec
from triptych.text.data import Pairs
from triptych.text.translator import TOKENIZER, Translator
from triptych.train.recipe import Recipe
from triptych.trained import Trained

NOUNS = {"dog": "Hund", "man": "Mann", "boy": "Junge", "bird": "Vogel", "tree": "Baum", "ball": "Ball"}
VERBS = {"sees": "sieht", "takes": "nimmt", "likes": "mag", "finds": "findet"}


def sentences() -> Pairs:
    source, target = [], []
    for one, eins in NOUNS.items():
        for verb, tut in VERBS.items():
            for other, zwei in NOUNS.items():
                source.append(f"the {one} {verb} the {other}")
                target.append(f"der {eins} {tut} den {zwei}")
    return Pairs(source, target)


SHAPE = {"width": 32, "heads": 4, "feed_forward": 64, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator of a small language, trained for a few seconds."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    pairs = sentences()
    translator = Translator.new(pairs, vocabulary=290, **SHAPE)
    recipe = Recipe(
        epochs=30, tokens_per_batch=512, learning_rate=5e-3, warmup=20, evaluations=0.1, label_smoothing=0.0
    )
    card = {"languages": {"target": "de"}}
    translator.fit(pairs, held_out=pairs.only(range(40)), recipe=recipe, out=folder, card=card)
    return folder


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.load(run)


def test_learns_and_translates(translator: Translator) -> None:
    assert translator("the dog sees the bird") == "der Hund sieht den Vogel"
    assert translator(["the man likes the tree", "", "the boy takes the ball"], beam=1) == [
        "der Mann mag den Baum",
        "",
        "der Junge nimmt den Ball",
    ]


def test_the_run_is_a_model_with_a_card(run: Path, translator: Translator) -> None:
    training = translator.card["training"]
    assert training["held_out"]["bleu"] > 90 and training["recipe"]["epochs"] == 30
    assert translator.card["task"] == "translation" and translator.card["pairs"] == 144
    assert (run / "log.jsonl").exists()


def test_batches_change_nothing(translator: Translator) -> None:
    lines = [*sentences().source[::9], "the dog", "the dog sees the bird the dog sees the bird"]
    together = translator.translate(lines, beam=3, nbest=2)
    for line, found in zip(lines, together, strict=True):
        (alone,) = translator.translate([line], beam=3, nbest=2)
        assert [one.text for one in alone] == [one.text for one in found]
        assert [one.score for one in alone] == pytest.approx([one.score for one in found], abs=1e-4)


def test_nbest_scores_tokens_and_alignment(translator: Translator) -> None:
    (found,) = translator.translate(["the dog sees the bird"], beam=4, nbest=3, align=True)
    assert len(found) == 3 and [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({one.text for one in found}) == 3
    best = found[0]
    assert best.log_prob == pytest.approx(best.score * LengthPenalty().divisor(len(best.tokens)))
    assert best.tokens[-1] == "</s>" and len(best.log_probs) == len(best.tokens)
    assert best.score == pytest.approx(sum(best.log_probs) / LengthPenalty().divisor(len(best.tokens)))
    assert [target for _, target in best.alignment] == list(range(len(best.tokens) - 1))
    assert all(0 <= source < len(best.source_tokens) - 1 for source, _ in best.alignment)


def test_forced_prefix(translator: Translator) -> None:
    (found,) = translator.translate(["the dog sees the bird"], prefix="der Baum")
    assert found[0].text.startswith("der Baum ")


def test_stream_joins_to_the_whole(translator: Translator) -> None:
    parts = list(translator.stream("the man finds the ball"))
    assert "".join(parts) == translator("the man finds the ball", beam=1) and len(parts) > 1
    assert list(translator.stream("")) == []


def test_sampling_is_one_result_a_seed(translator: Translator) -> None:
    lines = ["the man finds the ball", "", "the bird likes the dog"]
    wild = Sampling(temperature=3.0)
    one, two, other = (translator.sample(lines, wild, seed) for seed in (1, 1, 2))
    assert [found.text for found in one] == [found.text for found in two] != [found.text for found in other]
    assert one[1].text == "" and one[0].score == pytest.approx(sum(one[0].log_probs))
    greedy = translator.sample(lines, Sampling(temperature=0.0))
    assert greedy[0].text == translator(lines[0], beam=1)


def test_a_line_is_drawn_alike_by_every_entrance_and_in_every_batch(translator: Translator) -> None:
    lines, wild = sentences().source[:40], Sampling(temperature=1.5, min_p=0.02)
    together = [found.text for found in translator.sample(lines, wild, seed=5)]
    assert together[0] == "".join(translator.stream(lines[0], sampling=wild, seed=5))
    parts = [translator.sample(lines[first : first + 7], wild, 5, first=first) for first in range(0, 40, 7)]
    assert [found.text for part in parts for found in part] == together
    same = [found.text for found in translator.sample([lines[0]] * 40, wild, seed=5)]
    other = [found.text for found in translator.sample([lines[0]] * 40, wild, seed=6)]
    assert same[0] == together[0] and same[1:] != other[:-1], "one seed's lines are not another's, moved on"


def test_the_longest_line_is_the_same_in_a_stream(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator, "_steps", lambda read: 4)
    wild = Sampling(temperature=50.0)
    for seed in range(4):
        (found,) = translator.sample(["the man finds the ball"], wild, seed)
        assert "".join(translator.stream("the man finds the ball", sampling=wild, seed=seed)) == found.text
        assert len(found.tokens) <= 4


def test_no_ngram_comes_twice(translator: Translator) -> None:
    line = ["the dog sees the bird the dog sees the bird the dog"]
    for size in (1, 2):
        drawn = translator.sample(line, Sampling(temperature=3.0), no_repeat_ngram=size)
        for found in (*translator.translate(line, beam=3, nbest=2, no_repeat_ngram=size)[0], *drawn):
            grams = list(zip(*(found.tokens[at:] for at in range(size)), strict=False))
            assert len(set(grams)) == len(grams)
    with pytest.raises(UserError, match="no_repeat_ngram"):
        translator.translate(line, no_repeat_ngram=-1)


def test_evaluate(translator: Translator) -> None:
    found = translator.evaluate(sentences().only(range(30)), beam=2)
    assert found.bleu > 90 and found.bleu_lc_tok > 90 and found.chrf > 90
    assert found.sentences == 30 and 1 <= found.perplexity < 1.5
    assert "version" in found.signature


def test_save_and_load(tmp_path: Path, translator: Translator) -> None:
    translator.save(tmp_path / "model", dtype="float16", license="none")
    again = Translator.load(tmp_path / "model")
    assert again.card["license"] == "none" and again.card["task"] == "translation"
    assert again("the dog sees the bird") == "der Hund sieht den Vogel"


def test_fine_tuning_keeps_the_vocabulary(tmp_path: Path, run: Path) -> None:
    translator = Translator.load(run).with_dropout(0.1)
    assert translator.config.dropout == 0.1
    other = Pairs(["the dog"] * 8, ["die Katze"] * 8)
    recipe = Recipe(epochs=25, learning_rate=5e-3, warmup=1, label_smoothing=0.0, evaluations=0.1)
    translator.fit(other, held_out=other, recipe=recipe, out=tmp_path / "tuned", quiet=True)
    assert translator("the dog") == "die Katze"
    assert translator.codec.to_bytes() == Translator.load(run).codec.to_bytes()


def test_pairs_that_are_too_long_are_named_and_take_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = sentences()
    long = Pairs([*pairs.source[:9], "the dog " * 900], [*pairs.target[:9], "der Hund"])
    translator = Translator.new(pairs, vocabulary=290, **SHAPE)
    recipe = Recipe(epochs=1, tokens_per_batch=64)
    outcome = translator.fit(long, held_out=long, recipe=recipe, out=tmp_path / "run", card={"languages": "de"})
    assert outcome.reason == "finished" and translator.card["pairs"] == 9
    assert "1 source over" in capsys.readouterr().err
    assert translator.language is None  # the card should have {"target": "de"}


def test_without_held_out_pairs_some_are_kept_back(tmp_path: Path) -> None:
    pairs = sentences()
    translator = Translator.new(pairs, **SHAPE)
    assert 260 < translator.codec.vocabulary < 8000  # as many pieces as so little text gives
    translator.fit(pairs, recipe=Recipe(epochs=0.2, evaluations=0.1), out=tmp_path / "run", quiet=True)
    assert translator.card["pairs"] == 142
    with pytest.raises(UserError, match="at least 2 sentence pairs"):
        translator.fit(pairs.only(range(1)), recipe=Recipe(epochs=1), out=tmp_path / "other")


def test_base_runs_a_training_step_and_a_translation() -> None:
    pairs = sentences()
    translator = Translator.new(pairs, preset="base", vocabulary=290)
    source, target = (torch.tensor([translator.codec.encode(text)]) for text in (pairs.source[0], pairs.target[0]))
    optimizer = torch.optim.Adam(translator.module().parameters(), lr=1e-4)
    batch = Batch(target, torch.tensor([target.size(1)]), source, torch.tensor([source.size(1)]))
    before, _ = translator.module().eval().loss(batch)
    before.backward()
    optimizer.step()
    after, _ = translator.module().loss(batch)
    assert after < before
    (found,) = translator.translate([pairs.source[0]], beam=2)
    assert len(found[0].tokens) <= 2 * source.size(1) + 10 and found[0].score < 0


def test_mistakes(tmp_path: Path, translator: Translator) -> None:
    with pytest.raises(UserError, match=r"at most 1024 tokens, got \d+ in the line that begins 'the dog the dog"):
        translator.translate(["the dog", "the dog " * 2000])
    with pytest.raises(UserError, match="load a translation model"):
        Translator(Trained(translator.module(), {TOKENIZER: TextCodec.train(sentences().source, 275).to_bytes()}))
    with pytest.raises(UserError, match="expected a dtype"):
        Translator.load("captions-en-de", dtype="int3")
    with pytest.raises(UserError, match=r"expected a device that is here, got .abacus.; use auto, cpu or one of"):
        Translator.load("captions-en-de", device="abacus")
