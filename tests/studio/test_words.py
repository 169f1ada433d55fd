from __future__ import annotations

import base64
import shlex
from typing import Any

import numpy as np
import pytest

from triptych.cli.main import main
from triptych.text.translator import Translator

TEXT = "A brown dog jumps over a small stream."


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.load("captions-en-de", threads=1)


def test_a_text_is_translated_as_the_product_does(studio: Any, translator: Translator) -> None:
    found = studio.post("/api/translate", {"text": TEXT, "beam": 4, "nbest": 3})
    want = translator.translate([TEXT], beam=4, nbest=3, align=True)[0]
    assert [one["text"] for one in found["translations"]] == [one.text for one in want]
    for one, other in zip(found["translations"], want, strict=True):
        assert one["pieces"] == list(other.tokens) and one["ids"] == list(other.ids)
        assert one["score"] == pytest.approx(other.score)
        assert np.log(one["probabilities"]) == pytest.approx(other.log_probs, abs=1e-4)
        assert one["alignment"] == [[target, source] for source, target in other.alignment]
    assert found["source"]["pieces"] == list(want[0].source_tokens)
    assert found["model"] == "captions-en-de" and found["seed"] is None and found["forced"] == 0


def test_the_command_does_the_same(studio: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = studio.post("/api/translate", {"text": TEXT, "nbest": 2})
    program, *words = shlex.split(found["command"])
    assert program == "triptych" and main(words) == 0
    lines = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [one["text"] for one in found["translations"]]
    drawn = studio.post("/api/translate", {"text": TEXT, "sample": True, "seed": 5, "temperature": 1.0})
    assert main(shlex.split(drawn["command"])[1:]) == 0
    assert capsys.readouterr().out.strip() == drawn["translations"][0]["text"]


def test_the_settings_reproduce_an_answer_whose_seed_was_drawn(studio: Any) -> None:
    first = studio.post("/api/translate", {"text": TEXT, "sample": True, "temperature": 1.5})
    again = studio.post("/api/translate", first["settings"])
    assert again["translations"] == first["translations"] and again["address"] == first["address"]


def test_forced_pieces_come_first_and_the_rest_is_decoded_anew(studio: Any) -> None:
    best = studio.post("/api/translate", {"text": TEXT})["translations"][0]
    weighed = studio.post("/api/alternatives", {"text": TEXT, "ids": best["ids"]})["positions"]
    assert len(weighed) == len(best["ids"])
    for place, each in enumerate(weighed):
        assert each["id"] == best["ids"][place] and each["piece"] == best["pieces"][place]
        assert each["probability"] == pytest.approx(best["probabilities"][place], abs=1e-3)
        shares = [one["probability"] for one in each["alternatives"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-6 and len(shares) == 8
        if each["rank"] < 8:
            assert each["alternatives"][each["rank"]]["id"] == each["id"]
    other = next(one for one in weighed[1]["alternatives"] if one["id"] != best["ids"][1])
    forced = [best["ids"][0], other["id"]]
    found = studio.post("/api/translate", {"text": TEXT, "forced": forced})
    assert all(one["ids"][:2] == forced for one in found["translations"])
    assert found["command"].startswith("curl ")
    ended = studio.post("/api/translate", {"text": TEXT, "forced": [best["ids"][0], 1]})["translations"][0]
    assert ended["ids"] == [best["ids"][0], 1]


def test_what_follows_pieces_without_an_end_is_weighed_too(studio: Any) -> None:
    found = studio.post("/api/alternatives", {"text": TEXT, "ids": [], "count": 3})["positions"]
    assert [one["id"] for one in found] == [None] and len(found[0]["alternatives"]) == 3


def test_a_translation_is_seen_while_it_grows(studio: Any) -> None:
    events = studio.events("/api/translate", {"text": TEXT})
    names = [name for name, _ in events]
    assert names[0] == "start" and names[-1] == "done" and set(names[1:-1]) == {"partial"}
    shown = [data["pieces"] for name, data in events if name == "partial"]
    assert {len(pieces) for pieces in shown} == set(range(len(shown) - 1)), "each step is seen"
    want = studio.post("/api/translate", {"text": TEXT})
    assert events[-1][1] == want
    assert events[0][1].items() <= want.items()


def test_attention_is_that_of_the_model(studio: Any, translator: Translator) -> None:
    best = studio.post("/api/translate", {"text": TEXT})["translations"][0]
    found = studio.post("/api/attention", {"kind": "text", "text": TEXT, "ids": best["ids"]})
    _, _, recorded = translator.attention(TEXT, best["ids"])
    for name in ("encoder", "decoder", "cross"):
        want = np.concatenate(getattr(recorded, name))
        got = found[name]
        assert got["shape"] == list(want.shape)
        values = np.frombuffer(base64.b64decode(got["data"]), np.uint8).reshape(got["shape"]) * got["scale"]
        assert np.abs(values - want).max() <= 0.5 / 255 + 1e-6
    assert found["target"]["pieces"] == best["pieces"]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"text": 5}, 422, "text to be a text"),
        ({"text": "a" * 2_001}, 413, "text of 0 to 2,000 characters"),
        ({"beam": 0}, 422, "beam of 1 to 16"),
        ({"beam": 1.5}, 422, "beam to be a whole number"),
        ({"model": "fashion"}, 422, "a model to translate, got fashion"),
        ({"model": "../../etc/passwd"}, 422, "a model to translate"),
        ({"forced": [99_999_999]}, 422, "below 6,000"),
        ({"forced": [1, 5]}, 422, "the end of the sentence as the last piece"),
        ({"nbset": 3}, 422, "did you mean 'nbest'"),
        ({"temperature": -1}, 422, "temperature of 0 to 10"),
        ({"top_p": 0}, 422, "top_p of"),
        ({"seed": 2**53}, 422, "seed of 0 to"),
    ],
)
def test_a_wrong_field_is_one_line(studio: Any, change: dict[str, Any], status: int, words: str) -> None:
    got, answer = studio.try_post("/api/translate", {"text": TEXT, **change})
    assert got == status and words in answer["error"] and set(answer) == {"error"}


def test_an_empty_text_has_an_empty_translation(studio: Any) -> None:
    (only,) = studio.post("/api/translate", {"text": " "})["translations"]
    assert only["text"] == "" and only["ids"] == []


def test_libretranslate(studio: Any, translator: Translator) -> None:
    assert studio.get("/health") == {"status": "ok"}
    assert {"code": "en", "name": "English", "targets": ["de"]} in studio.get("/languages")
    body = {"q": TEXT, "source": "en", "target": "de"}
    want = translator(TEXT)
    assert studio.post("/translate", body) == {"translatedText": want}
    found = studio.post(
        "/translate", {**body, "q": [TEXT, "Two men."], "alternatives": 2, "api_key": "", "format": "text"}
    )
    assert found["translatedText"] == [want, translator("Two men.")]
    assert [len(one) for one in found["alternatives"]] == [2, 2]
    form = "q=A+brown+dog+jumps+over+a+small+stream.&source=en&target=de&alternatives=1"
    kind = "application/x-www-form-urlencoded"
    status, _, answer = studio.ask("POST", "/translate", form.encode(), Content_Type=kind)
    assert status == 200 and want in answer.decode()
    status, _, answer = studio.ask("POST", "/translate", f"{form}&alternatives=2".encode(), Content_Type=kind)
    assert status == 422 and b"alternatives to be a whole number" in answer
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in body.items()
    )
    status, _, answer = studio.ask(
        "POST", "/translate", f"{parts}--b--\r\n".encode(), Content_Type="multipart/form-data; boundary=b"
    )
    assert status == 200 and want in answer.decode()
    for change, words in (
        ({"source": "auto"}, "got auto"),
        ({"format": "html"}, "got html"),
        ({"target": "fr"}, "got en-fr"),
    ):
        status, answer = studio.try_post("/translate", {**body, **change})
        assert status == 400 and words in answer["error"]
