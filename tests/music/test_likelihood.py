from triptych.music.likelihood import Likelihood


def test_words_of_chorales() -> None:
    voices = {"alto": 0.25, "bass": 1.0}
    found = Likelihood(0.51234, 73632, 76, 0.6, voices, Likelihood(0.5, 73000, 75))
    assert found.worded() == [
        "nll       0.5123 nats a token over 73,632 tokens of 76 pieces",
        "nll       0.5000 with the metre, of the pieces whose metre is known",
        "a piece   0.6000 (mean of the pieces' means)",
        "voices    alto 0.2500, bass 1.0000",
    ]
    metre = {"nll": 0.5, "tokens": 73000, "pieces": 75}
    plain = {"nll": 0.51234, "tokens": 73632, "pieces": 76, "nll_per_piece": 0.6}
    assert found.to_dict() == {**plain, "per_voice": voices, "with_metre": metre}


def test_words_of_performances() -> None:
    found = Likelihood(2.0, 1000, 2)
    assert found.worded() == ["nll       2.0000 nats a token over 1,000 tokens of 2 pieces"]
    assert found.to_dict() == {"nll": 2.0, "tokens": 1000, "pieces": 2}
