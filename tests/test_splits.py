from triptych.splits import SPLITS, WORDS, evenly


def test_evenly_from_the_first_to_the_last() -> None:
    assert evenly(9, 3).tolist() == [0, 4, 8]
    assert evenly(3, 1).tolist() == [0]
    for most in (None, 5, 6):
        assert evenly(5, most).tolist() == [0, 1, 2, 3, 4]
    assert all(len(set(evenly(100, most).tolist())) == most for most in range(1, 101))


def test_every_word_means_a_split() -> None:
    assert set(WORDS.values()) == set(SPLITS) and all(WORDS[name] == name for name in SPLITS)
    assert WORDS["eval"] == "valid"
