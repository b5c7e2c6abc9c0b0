"""Hints for names that nothing has."""

from streamlearn.spelling import hint


def test_a_similar_name_is_asked_for():
    assert hint("lerning_rate", {"learning_rate", "decay"}) == "did you mean learning_rate?"


def test_no_similar_name():
    assert hint("sigma", ["learning_rate"]) == ""
    assert hint("sigma", ["learning_rate"], "known: learning_rate") == "known: learning_rate"


def test_the_cutoff():
    assert hint("STREAMLEARN_X", ["STREAMLEARN_DATA_DIR"], cutoff=0.9) == ""
    assert hint("STREAMLEARN_X", ["STREAMLEARN_DATA_DIR"], cutoff=0.1) == "did you mean STREAMLEARN_DATA_DIR?"
