"""Every figure of the documents can still be drawn: here of a few samples, which takes no time."""

from __future__ import annotations

import importlib

import matplotlib as mpl
import pytest

from tests.documents import ROOT

mpl.use("Agg")

FEW = {
    "bidirectional": {"samples": 500},
    "cognitron": {"rounds": (1, 2)},
    "competitive": {"samples": 500},
    "gng": {"moments": (50, 100, 300)},
    "gradient_by_lag": {"samples": 500},
    "hamming": {},
    "malsburg": {"rounds": 1},
    "rumelhart_zipser": {"samples": 500},
    "scaling": {},
    "som": {"samples": 500},
    "speedup": {},
    "words": {"samples": 500},
}


def test_every_script_and_every_picture_is_known():
    folder = ROOT / "docs/figures"
    for kind in "py", "png":
        assert {file.stem for file in folder.glob(f"*.{kind}")} == FEW.keys()


@pytest.mark.parametrize("name", FEW)
def test_the_figure_is_drawn(name, tmp_path):
    file = tmp_path / "figure.png"
    importlib.import_module(f"docs.figures.{name}").draw(file, **FEW[name])
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
