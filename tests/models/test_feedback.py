"""Feedback: a pattern called normal stays quiet, one called a fault is named."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadShape, BadValue

PLACES = 3000, 4500, 6000
FAULT = np.array([9.0, 0.0, -7.0], np.float32)


def stream(seed: int = 1, noise: float = 0.5) -> np.ndarray:
    """Noise with the same fault at three places, five samples long."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(7000, 3))
    for place in PLACES:
        x[place : place + 5] = FAULT + noise * random.normal(size=(5, 3))
    return x.astype(np.float32)


def model() -> sl.SOM:
    slow = {"sigma": sl.Decay(2.0, 1.5), "learning_rate": sl.Decay(0.5, 0.02)}  # the map stays coarse
    return sl.SOM(dim=3, grid=(4, 4), scale="standard", alarm=True, seed=1, **slow)


def begins(out, place: int) -> list:
    return [each for each in out.events if each.state == "begin" and place <= each.sample < place + 10]


def test_each_fault_is_an_alarm_without_feedback():
    out = model().learn(stream())
    assert [len(begins(out, place)) for place in PLACES] == [1, 1, 1]
    assert {event.fault for event in out.events} == {""}
    assert set(out.fault.tolist()) == {-1}


def test_a_pattern_called_normal_stays_quiet():
    som, x = model(), stream()
    first = som.learn(x[:4000])
    som.feedback(begins(first, 3000)[0].sample, "normal")
    later = som.learn(x[4000:])
    assert [len(begins(later, place)) for place in PLACES[1:]] == [0, 0]
    other = x[:5] + np.float32([-9, 0, 7])  # another fault is still an alarm
    assert [each.state for each in som.learn(np.vstack([x[:1000], other])).events][-1:] == ["begin"]


def test_a_pattern_called_a_fault_is_named():
    som, x = model(), stream()
    som.learn(x[:4000])
    som.feedback(FAULT, "fault", "bearing")
    out = som.learn(x[4000:])
    for place in PLACES[1:]:
        (event,) = begins(out, place)
        assert (event.fault, event.sample) == ("bearing", place)
    assert set(out.fault[500:505].tolist()) == {0}
    assert set(np.delete(out.fault, [*range(500, 505), *range(2000, 2005)]).tolist()) == {-1}
    assert som.quality()["patterns"] == [
        {"pattern": 0, "verdict": "fault", "name": "bearing", "radius": pytest.approx(4.3, abs=0.5)}
    ]


def test_the_radius_is_half_the_distance_from_the_means():
    """The distance is the root mean square over the channels, in mean absolute deviations."""
    som = model()
    x = np.random.default_rng(3).normal(size=(4000, 3)).astype(np.float32) * [1, 10, 100]
    som.learn(x)
    pattern = np.array([8.0, 0.0, 0.0])
    som.feedback(pattern, "fault", "f")
    width = np.sqrt(2 / np.pi)  # of a normal distribution
    radius = som.quality()["patterns"][0]["radius"]
    assert radius == pytest.approx(8 / width / np.sqrt(3) / 2, rel=0.05)
    for share, expected in ((0.9, 0), (1.1, -1)):
        copy = sl.SOM.from_spec(som.spec_dict())
        copy.adopt(som.copy_state())
        probe = pattern + np.array([0, share * radius * np.sqrt(3) * 10 * width, 0])
        assert copy.learn(probe).fault.tolist() == [expected]


def test_a_new_verdict_replaces_the_old_one_and_the_oldest_goes():
    som = model()
    som.learn(stream()[:2000])
    som.feedback(FAULT, "fault", "a")
    som.feedback(FAULT + np.float32(0.5), "normal")
    assert [(each["verdict"], each["name"]) for each in som.quality()["patterns"]] == [("normal", "")]
    for number in range(20):
        som.feedback(FAULT * 2.0**number, "fault", f"f{number}")
    names = {each["name"] for each in som.quality()["patterns"]}
    assert names == {f"f{number}" for number in range(4, 20)}


def test_feedback_is_part_of_the_state():
    som, x = model(), stream()
    som.learn(x[:4000])
    before = som.copy_state()
    som.feedback(FAULT, "fault", "bearing")
    judged = som.state_hash()
    som.adopt(before)
    assert som.state_hash() != judged
    som.feedback(FAULT, "fault", "bearing")
    assert som.state_hash() == judged
    copy = sl.SOM.from_spec(som.spec_dict())
    copy.adopt(som.copy_state())
    assert [repr(e) for e in copy.learn(x[4000:]).events] == [repr(e) for e in som.learn(x[4000:]).events]


@pytest.mark.parametrize(
    ("sample", "verdict", "name", "error", "message"),
    [
        (12, "normal", "", BadValue, "sample 12 are not kept.*none so far"),
        (FAULT, "good", "", BadValue, "'normal' or 'fault'"),
        (FAULT, "fault", "x" * 33, BadValue, "at most 32 bytes"),
        (FAULT, "fault", "a\nb", BadValue, "printable"),
        (FAULT[:2], "fault", "", BadShape, "3"),
        ([np.inf, 0, 0], "fault", "", BadValue, "inf"),
    ],
)
def test_wrong_feedback_is_refused(sample, verdict, name, error, message):
    som = model()
    before = som.state_hash()
    with pytest.raises(error, match=message):
        som.feedback(sample, verdict, name)
    assert som.state_hash() == before


def test_a_model_without_alarms_takes_no_feedback():
    with pytest.raises(BadValue, match="alarm=True"):
        sl.SOM(dim=3, grid=(2, 2), alarm=None).feedback(FAULT, "normal")
