"""The picture of lengths and rows, drawn from plain distributions alone."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from bert_jax.report.data_picture import check_picture, draw_data, merge_bins


def distributions() -> dict[str, Any]:
    """As `doctor --json` gives them: documents of few bins, rows that are never full."""
    edges = np.unique(np.round(2.0 ** (np.arange(81) / 8))).astype(int)
    lengths = {
        "edges": edges.tolist(),
        "counts": np.arange(len(edges) - 1).tolist(),
        "mean": 100.0,
        "median": 90,
    }
    few = {"edges": [1, 2], "counts": [3], "mean": 1.0, "median": 1}
    rows = {"edges": [0, 2, 4, 6], "counts": [0, 5, 2], "mean": 3.0, "median": 2}
    return {
        "sentences": lengths,
        "documents": few,
        "sequence_length": 64,
        "sequences": rows,
        "rows": {"16": {**rows, "padding": 0.1}, "1": {**rows, "padding": 0.6}},
    }


def test_a_png_of_a_useful_size(tmp_path: pathlib.Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    path = tmp_path / "data.png"
    draw_data(distributions(), path)
    pixels = image.imread(path)
    assert pixels.shape[0] > 600 and pixels.shape[1] > 1000
    assert (pixels[0, 0, :3] == 1).all()  # white, whatever the user's style
    blue = np.abs(pixels[..., :3] - np.array([0x2F, 0x6F, 0xB0]) / 255).sum(-1) < 0.05
    height, width = blue.shape
    for rows in (slice(0, height // 2), slice(height // 2, height)):
        for columns in (slice(0, width // 2), slice(width // 2, width)):
            assert blue[rows, columns].sum() > 500  # something is drawn in each quarter


def test_bins_are_merged_and_none_is_lost() -> None:
    lengths = distributions()["sentences"]
    edges, counts = merge_bins(np.array(lengths["edges"]), np.array(lengths["counts"]))
    assert counts.sum() == sum(lengths["counts"])
    assert set(edges[:-1]) <= set(lengths["edges"])
    for i, count in enumerate(counts):
        inside = [
            n
            for edge, n in zip(lengths["edges"][:-1], lengths["counts"], strict=True)
            if edges[i] <= edge < edges[i + 1]
        ]
        assert count == sum(inside)


def test_mistakes_are_told_before_any_work(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"must end in \.png"):
        check_picture(tmp_path / "a.svg")
    with pytest.raises(ValueError, match="make it"):
        check_picture(tmp_path / "none" / "a.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"bert_jax\[report\]"):
        check_picture(tmp_path / "a.png")
