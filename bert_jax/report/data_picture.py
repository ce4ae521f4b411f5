"""One picture of prepared text: how long its parts are, how rows are filled.

It is drawn from plain distributions, as `bert-jax doctor --json` gives them, so that
nothing of the data is read here. Matplotlib (extra `report`) is imported when it draws.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _GRID = "#24292f", "#6e7781", "#e3e6ea"
_BLUE, _ORANGE = "#2f6fb0", "#d9822b"
_SIZE_INCHES = (10.0, 6.4)
_DPI = 130


def check_picture(path: Path) -> None:
    """Raises ValueError where no picture could be drawn to `path`."""
    if path.suffix != ".png":
        raise ValueError(f"--picture={path} must end in .png")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--picture={path}: its folder is not there; make it")
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--picture needs matplotlib; pip install 'bert_jax[report]'")


def draw_data(distributions: Mapping[str, Any], path: Path) -> None:
    """Writes the picture as a PNG file.

    Args:
        distributions: `sentences`, `documents` and `sequences`, each with `edges`,
            `counts`, `mean` and `median`; `rows`, by the most sequences in a row as text,
            each the same with `padding`, a share; `sequence_length`, tokens of a row.
        path: the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.08)
    (sentences, documents), (sequences, rows) = figure.subplots(2, 2)
    _draw_log(sentences, distributions["sentences"], "Sentences")
    _draw_log(documents, distributions["documents"], "Documents")
    length = distributions["sequence_length"]
    _draw_sequences(sequences, distributions["sequences"], length)
    _draw_rows(rows, distributions["rows"], length)
    figure.savefig(path, dpi=_DPI)


def _style(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", color=_INK, fontsize=11, fontweight="bold")
    axes.set_xlabel(x, color=_INK, fontsize=9)
    axes.set_ylabel(y, color=_INK, fontsize=9)
    axes.tick_params(colors=_MUTED, labelsize=8, length=3)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GRID)


def _draw_log(axes: Axes, lengths: Mapping[str, Any], what: str) -> None:
    """A distribution over lengths that differ by orders of magnitude."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    edges, counts = np.array(lengths["edges"]), np.array(lengths["counts"])
    edges, counts = merge_bins(edges, counts)
    total = counts.sum()
    axes.bar(
        edges[:-1],
        100 * counts / total,
        np.diff(edges),
        align="edge",
        color=_BLUE,
        edgecolor="white",
        linewidth=0.5,
    )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(lengths["median"], color=_INK, linewidth=1)
    axes.annotate(
        f"median about {lengths['median']:,}",
        (lengths["median"], 1.0),
        (4, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=_INK,
    )
    _style(axes, f"{what}: {total:,}", "tokens (log scale)", f"% of {what.lower()}")
    axes.margins(y=0.15)


def _draw_sequences(axes: Axes, lengths: Mapping[str, Any], row_length: int) -> None:
    """How long the training sequences of an epoch are."""
    edges, counts = np.array(lengths["edges"]), np.array(lengths["counts"])
    shares = 100 * counts / counts.sum()
    axes.bar(edges[:-1], shares, np.diff(edges), align="edge", color=_BLUE, linewidth=0)
    _style(
        axes,
        f"Sequences of an epoch: {counts.sum():,}",
        f"tokens, [CLS] and [SEP] included; a row has {row_length}",
        "% of sequences",
    )
    axes.set_xlim(0, row_length)


def _draw_rows(axes: Axes, rows: Mapping[str, Mapping[str, Any]], row_length: int) -> None:
    """Share of rows that are filled at least so far, without and with packing.

    What lies above a curve is padding.
    """
    packings = sorted(rows, key=int)
    for packing, colour in zip(packings, (_ORANGE, _BLUE), strict=False):
        edges, counts = np.array(rows[packing]["edges"]), np.array(rows[packing]["counts"])
        longer = 100 * counts[::-1].cumsum()[::-1] / counts.sum()
        if edges[-1] < row_length:  # no row is filled to the last bin
            edges, longer = np.append(edges, row_length), np.append(longer, 0.0)
        name = "one sequence a row" if packing == "1" else f"up to {packing} a row"
        share = rows[packing]["padding"]
        axes.step(
            100 * np.minimum(edges, row_length) / row_length,
            np.append(longer, longer[-1]),
            where="post",
            color=colour,
            linewidth=2,
            label=f"{name}: {share:.1%} padding",
        )
    _style(axes, "How rows are filled", "% of a row filled at least", "% of rows")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 108)
    axes.legend(loc="lower left", fontsize=8.5, frameon=False, labelcolor=_INK)


def merge_bins(
    edges: np.ndarray, counts: np.ndarray, bins: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """The same counts in `bins` bins for each doubling, whole numbers all the same."""
    last = float(np.log2(edges[-1]))
    wanted = np.unique(np.round(2.0 ** (np.arange(np.ceil(last * bins) + 1) / bins)))
    place = np.searchsorted(wanted, edges[:-1], side="right") - 1
    merged = np.bincount(place, counts, minlength=len(wanted) - 1)
    return wanted, merged.astype(np.int64)


def _short(number: float) -> str:
    """1, 64, 4k, 1M."""
    for size, letter in ((2**20, "M"), (2**10, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"
