"""What ``mypy --strict`` infers for a program that uses the models, and what it refuses."""

from __future__ import annotations

import pytest

from tests.typing.programs import ROOT, Messages, assert_inferred, assert_refused, run_mypy

REFUSED = """\
import numpy as np
import streamlearn as sl

x = np.zeros((10, 3))
som = sl.SOM(dim=3, grid=(2, 2))
sl.SOM(dmi=3)  # error: Unexpected keyword argument "dmi"
sl.SOM(dim=3)  # error: Missing named argument "grid"
sl.SOM(dim="3", grid=(2, 2))  # error: Argument "dim"
sl.SOM(dim=3, grid="2x2")  # error: Argument "grid"
sl.SOM(dim=3, grid=(2, 2), init="pac")  # error: Argument "init"
sl.SOM(dim=3, grid=(2, 2), learning_rate=sl.Decay(0.5, 0.02, half_live=10))  # error: Unexpected keyword
sl.Competitive(dim=3, units=4, mode="sfot")  # error: Argument "mode"
sl.Competitive(dim=3, units=4, init="pca")  # error: Argument "init"
sl.GrowingNeuralGas(dim=3, max_age=1.5)  # error: Argument "max_age"
sl.Grossberg(dim=3, layers=[5, 5])  # error: List item
sl.Grossberg(dim=3, layers=[[2]], scale="standard")  # error: Argument "scale"
sl.HammingNet(dim=3, patterns=3)  # error: Argument "patterns"
sl.Malsburg(dim=3, p_rings=(1, 2, 3))  # error: Argument "p_rings"
sl.Cognitron(dim=9, shape=9)  # error: Argument "shape"
sl.RNN(readout="adam", dim=3, hidden=4, tbptt=16)  # error: Argument "tbptt"
sl.BidirectionalRNN(dim=3, hidden=4, target="next")  # error: Argument "target"
sl.BidirectionalRNN(dim=3, hidden=4, tbptt=(4, 4))  # error: Unexpected keyword argument "tbptt"
sl.RNN.from_state_dict("net.npz", trget="next")  # error: Unexpected keyword argument "trget"
sl.SOM(dim=3, grid=(2, 2)).learn(x).wniner  # error: has no attribute "wniner"
som.predict(x)[:5].wniner  # error: has no attribute "wniner"
som.learn_targets([1], [[2]]).wniner  # error: has no attribute "wniner"
sl.SOM(dim=3, grid=(2, 2)).learn(x).prediction  # error: "SOMOutputs" has no attribute "prediction"
som.learn_targets([1], [[2]]).coords  # error: "LabelTargetOutputs" has no attribute "coords"
sl.Competitive(dim=3, units=4).predict(x).coords  # error: "CompetitiveOutputs" has no attribute "coords"
sl.RNN(readout="adam", dim=3, hidden=4).predict(x).winner  # error: "RNNOutputs" has no attribute "winner"
sl.RNN(readout="adam", dim=3, hidden=4).learn(x).sample  # error: "RNNOutputs" has no attribute "sample"
sl.HammingNet(dim=3, patterns=[[1, 1, -1]]).learn(x).coords  # error: "HammingNetOutputs" has no attribute
sl.load("net.npz").predict(x).winner  # error: "ModelOutputs" has no attribute "winner"
som.laern(x)  # error: has no attribute "laern"
som.learn(x, key=3)  # error: Unexpected keyword argument "key"
sl.SOMM  # error: Module has no attribute "SOMM"
"""

ACCEPTED = """\
import numpy as np
import streamlearn as sl

x = np.zeros((10, 3))
som = sl.SOM(dim=3, grid=(2, 2), sigma=sl.Decay(2, 1, tau=100), init="pca", labels=3)
reveal_type(som.learn(x).winner)  # signedinteger[_32Bit]
reveal_type(som.learn(x).coords)  # signedinteger[_32Bit]
reveal_type(som.predict(x)[:5].score)  # floating[_32Bit]
reveal_type(som.predict(x).drift)  # numpy.bool
reveal_type(som.learn_targets([1], [[2]]).sample)  # signedinteger[_64Bit]
reveal_type(som.weights)  # floating[_32Bit]
reveal_type(som.learn_targets([1], [[2]]).label)  # signedinteger[_32Bit]
sl.SOM(dim=3, grid=10, learning_rate=0.1)
sl.SOM(dim=3, grid=(2, 2), init=np.zeros((2, 2, 3)))
sl.Competitive(dim=3, units=4, mode="gas", spread=None, init=[[0, 0, 1]] * 4)
reveal_type(sl.Competitive(dim=3, units=4, labels=2).predict(x).label)  # signedinteger[_32Bit]
reveal_type(sl.GrowingNeuralGas(dim=3).learn(x).distance)  # floating[_32Bit]
reveal_type(sl.Grossberg(dim=3, layers=[[5, 5], [4]]).learn(x).winner)  # signedinteger[_32Bit]
reveal_type(sl.HammingNet(dim=3, patterns=[[1, 1, -1]]).learn(x).iterations)  # signedinteger[_32Bit]
sl.HammingNet(dim=3, patterns=np.ones((1, 3)))
sl.Malsburg(dim=19, sheet=(4, 5), h=sl.Decay(0.05, 0.01, half_life=600, unit="seconds"))
reveal_type(sl.Malsburg(dim=19).predict(x).distance)  # floating[_32Bit]
reveal_type(sl.Cognitron(dim=9, shape=(3, 3)).predict(x).activity)  # floating[_32Bit]
reveal_type(sl.RNN(readout="adam", dim=3, hidden=4, clip=1).learn(x).prediction)  # floating[_32Bit]
reveal_type(sl.RNN(readout="adam", dim=3, hidden=4).predict(x).error)  # floating[_32Bit]
reveal_type(sl.RNN(readout="adam", dim=3, hidden=4).learn_targets([1], [[2]]).prediction)  # floating[_32Bit]
reveal_type(sl.RNN(readout="adam", dim=3, hidden=4).forecast(5))  # floating[_32Bit]
reveal_type(sl.BidirectionalRNN(dim=3, hidden=4).learn(x, x[:, :1]).sample)  # signedinteger[_64Bit]
reveal_type(sl.RNN.from_state_dict("net.npz", target="given"))  # streamlearn.RNN
model = sl.load("som.safetensors")
reveal_type(model.quality())  # dict[str, Any]
reveal_type(model.learn(x).score)  # floating[_32Bit]
reveal_type(model.learn_targets([1], [[2]]).sample)  # signedinteger[_64Bit]
reveal_type(model.predict(x).arrays["winner"])  # numpy.ndarray
if isinstance(model, sl.SOM):
    reveal_type(model.predict(x).winner)  # signedinteger[_32Bit]
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory) -> dict[str, Messages]:
    """The messages of one run of mypy by program."""
    programs = {"refused.py": REFUSED, "accepted.py": ACCEPTED}
    return run_mypy(tmp_path_factory.mktemp("programs"), programs, f"{ROOT}:{ROOT / 'clients/python'}")


def test_mistakes_are_refused_on_their_line(messages):
    assert_refused(REFUSED, messages["refused.py"])


def test_types_are_inferred(messages):
    assert_inferred(ACCEPTED, messages["accepted.py"])
