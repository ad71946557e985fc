"""The organism grid: cells side by side, and how they came to be over training."""

from typing import Any

import numpy as np
import polars as pl

from slm_lens.studies.study_result import StudyResult
from slm_lens.views._table import numbers
from slm_lens.views.chart import PAGE_INCHES, Chart, Key
from slm_lens.views.panel import Axis, Line, Mark, Panel
from slm_lens.views.style import Ink

_INKS = {
    "text": Ink("blue", "solid", "circle"),
    "random": Ink("vermillion", "dashed", "square"),
}
_CONTROL = Ink("grey", "dotted")
_DATA = ("speech", "balanced", "interleaved")
_TITLES = {
    "current_word_recall": "current word",
    "next_word_recall": "next word",
    "spoken_facts": "spoken facts",
    "never_spoken_facts": "facts never spoken",
}
_BESIDE = {"text": -0.14, "random": 0.14}


def grid_figures(result: StudyResult) -> dict[str, Chart]:
    """Means over seeds with intervals beside their controls; below, the way of single cells.

    Args:
        result: of the study ``grid``.

    Returns:
        One chart, ``grid``.
    """
    runs = result.frame("runs")
    measures = runs["measure"].unique(maintain_order=True).to_list()
    k = result.settings["k"]
    heights = {m: _height(m, k) for m in measures}
    cells = tuple(_cells(result, m, heights[m]) for m in measures)
    rows: tuple[tuple[Panel | None, ...], ...] = (cells,)
    if "trajectory" in result.tables:
        rows += (tuple(_way(result.frame("trajectory"), m, heights[m]) for m in measures),)
    key = {f"{init} init": ink for init, ink in _INKS.items()} | {"control": _CONTROL}
    return {
        "grid": Chart(
            rows=rows,
            title="What makes transcription appear",
            description="Recall of the current and the next word in text, and right over wrong "
            "answers of facts in speech, by what the organism began with and what it learned from "
            "(speech: speech alone; both: as much text, in documents of its own; mixed: documents "
            "that switch at words), with 95 % intervals over items and seeds; small marks are "
            "single seeds. The control is the recall of words of other utterances at the same "
            "places; for facts, the same answers after the prompt of another fact."
            + (" Below: the same along the training." if len(rows) > 1 else ""),
            width_inches=PAGE_INCHES,
            height_inches=0.7 + 1.9 * len(rows),
            keys=(Key(key),),
        )
    }


def _height(measure: str, k: int) -> Axis:
    if measure.endswith("facts"):
        return Axis("right over wrong", low=0.0, high=1.0)
    return Axis(f"recall@{k} in text", low=0.0)


def _cells(result: StudyResult, measure: str, height: Axis) -> Panel:
    across = Axis(
        "learned from", low=-0.5, high=2.5, ticks=(0.0, 1.0, 2.0),
        names=("speech", "both", "mixed"),
    )  # fmt: skip
    lines: list[Line] = []
    marks: list[Mark] = []
    seeds = result.frame("runs").filter(pl.col("measure") == measure)
    for row in result.frame("cells").filter(pl.col("measure") == measure).iter_rows(named=True):
        if row["cell"] != f"{row['init']}-{row['data']}":
            continue  # other shares of speech have no place on this axis; the tables have them
        x, ink = _DATA.index(row["data"]) + _BESIDE[row["init"]], _INKS[row["init"]]
        lines += _interval(row, x, ink)
        marks.append(Mark(x, row["estimate"], ink, entry=f"{row['init']} init"))
        lines.append(Line(f"{row['cell']}, control", np.array([x - 0.13, x + 0.13]),
                          np.full(2, row["control"]), _CONTROL, entry="control"))  # fmt: skip
        of_cell = seeds.filter(pl.col("cell") == row["cell"])["estimate"]
        if row["n_seeds"] > 1:
            lines.append(_seeds(numbers(of_cell), x + np.sign(_BESIDE[row["init"]]) * 0.16, ink))
    return Panel(across, height, _TITLES.get(measure, measure), lines=tuple(lines),
                 marks=tuple(marks))  # fmt: skip


def _interval(row: dict[str, Any], x: float, ink: Ink) -> list[Line]:
    if row["low"] is None:
        return []
    ends = np.array([row["low"], row["high"]])
    entry = f"{row['init']} init"
    return [
        Line(f"{row['cell']}, 95 % interval", np.full(2, x), ends, Ink(ink.colour), entry=entry)
    ]


def _seeds(values: np.ndarray, x: float, ink: Ink) -> Line:
    """Single seeds: markers beside the mean, without a line."""
    points = np.repeat(values, 2)
    points[1::2] = np.nan  # a gap after every point
    small = Ink(ink.colour, "solid", ink.marker, "thin")
    return Line("single seeds", np.full(len(points), x), points, small)


def _way(trajectory: pl.DataFrame, measure: str, height: Axis) -> Panel:
    steps = Axis("steps with speech")
    lines = []
    of_measure = trajectory.filter(pl.col("measure") == measure)
    for (cell, init), rows in of_measure.group_by("cell", "init", maintain_order=True):
        x, ink = numbers(rows["n_speech_steps"]), _INKS[str(init)]
        band = numbers(rows["low"]), numbers(rows["high"])
        has_band = bool(np.isfinite(band[0]).any())
        lines.append(
            Line(str(cell), x, numbers(rows["estimate"]), ink, band[0] if has_band else None,
                 band[1] if has_band else None, entry=f"{init} init")
        )  # fmt: skip
        control = numbers(rows["control"])
        lines.append(Line(f"{cell}, control", x, control, Ink("grey", "dotted", None, "thin"),
                          entry="control"))  # fmt: skip
    return Panel(steps, height, lines=tuple(lines))
