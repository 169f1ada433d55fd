"""From two files of lines to a translation, through the real translator: the verbs and the product fit together."""

import json
from pathlib import Path
from typing import Any


def test_train_then_use(run: Any, tmp_path: Path) -> None:
    words = {"dog": "Hund", "cat": "Katze", "child": "Kind", "bird": "Vogel", "horse": "Pferd", "fish": "Fisch"}
    lines = [(f"a {one} sees a {two} .", f"{words[one]} sieht {words[two]} .") for one in words for two in words]
    for side, name in enumerate(("source", "target")):
        (tmp_path / name).write_text("".join(line[side] + "\n" for line in lines), "utf-8")
    files = ["--source", tmp_path / "source", "--target", tmp_path / "target"]
    shape = {"vocabulary": 285, "width": 16, "heads": 2, "feed_forward": 16, "encoder_layers": 2, "decoder_layers": 2}
    settings = [f"--set=model.{name}={value}" for name, value in shape.items()]
    ran = run("train", "text", *files, *settings, "--set=epochs=1", "--out", tmp_path / "run", "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["updates"] >= 1

    model = ["--model", tmp_path / "run", "--threads", 1, "--json"]
    report = json.loads(run("translate", "a dog sees a cat .", "", "--beam", 2, "--nbest", 2, *model).out)
    assert len(report["translations"][0]["hypotheses"]) == 2
    assert report["translations"][1]["hypotheses"][0]["text"] == ""
    sampled = [run("translate", "a dog", "--temperature", 1, "--seed", seed, *model).out for seed in (3, 3)]
    assert sampled[0] == sampled[1] and json.loads(sampled[0])["translations"]

    report = json.loads(run("evaluate", "text", *files, "--limit", 4, "--beam", 1, "--language", "de", *model).out)
    assert {"bleu", "bleu_lc_tok", "chrf", "signature", "perplexity", "sentences"} <= set(report)
    assert report["sentences"] == 4

    out = tmp_path / "a.png"
    report = json.loads(run("look", "text", "a dog", "--out", out, "--layer", 1, "--head", 2, *model).out)
    assert out.is_file() and [len(each["weights"]) for each in report["maps"]] == [1, 1, 1]
