"""Figures of the study ``knowledge``: accuracies, correlations and their controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from slm_lens.studies.knowledge.fact_items import SETTINGS
from slm_lens.studies.knowledge.item_correlations import POINT_BISERIAL
from slm_lens.studies.knowledge.measured import RANDOM
from slm_lens.studies.study_result import StudyResult
from slm_lens.views.chart import PAGE_INCHES, Chart, Key
from slm_lens.views.panel import Axis, Line, Mark, Panel, Rule
from slm_lens.views.style import INKS, Ink, Marker

_CHANCE = Rule(0.5, "y", Ink("grey", "dotted", weight="thin"))
_ZERO = Rule(0.0, "x", Ink("grey", "dotted", weight="thin"))
_CONTROL = Ink("grey", "solid", "diamond", "thin")
_SHUFFLED = "95 % of shuffled pairings"
_HEARD = {"S->S": Ink("speech", "solid", "circle"), "S->T": Ink("text", "dashed", "square")}
_SHARE = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLUMNS = 4
_FEW = 3
"""Models up to which controls have marks beside theirs; of more, only their intervals."""

_MARKERS: tuple[Marker, ...] = ("circle", "square", "triangle", "diamond", "triangle-down")


def knowledge_figures(result: StudyResult) -> dict[str, Chart]:
    """The figures, the main one first.

    Args:
        result: of the study.

    Returns:
        ``knowledge``: accuracy by setting, models, and correlations over items. ``items``: accuracy
        by the rank of the subject, where subjects are known. ``pairs``: where pairs were asked.
    """
    models = [m for m in result.frame("transcription")["model"] if not m.endswith(RANDOM)]
    inks = {m: _ink(i) for i, m in enumerate(models)}
    charts = {"knowledge": _main(result, inks)}
    if len(result.frame("bins")):
        charts["items"] = _items(result, models)
    if len(result.frame("pairs")):
        charts["pairs"] = _pairs(result, inks)
    return charts


def _ink(number: int) -> Ink:
    """Another marker for the same colour from the seventh model on; a cross has no face to see."""
    of, again = INKS[number % len(INKS)], number // len(INKS)
    return Ink(of.colour, of.dash, _MARKERS[(number + again) % len(_MARKERS)])


def _main(result: StudyResult, inks: Mapping[str, Ink]) -> Chart:
    frame = _headline(result)
    heard = [s for s in _HEARD if s in set(frame["setting"])]
    of_models: list[Panel | None] = [_models(result, inks, s) for s in heard]
    while len(of_models) < 2:
        of_models.append(None)
    return Chart(
        rows=((_accuracy(frame, inks), _correlations(result, inks)), tuple(of_models)),
        title="Transcription and knowledge",
        description="Above, left: share of facts whose right completion is likelier, by modality "
        "of prompt -> completion (S speech, T text). Right: correlation over items between the "
        "subject being transcribed and the fact being right; grey bars hold 95 % of shuffled "
        "pairings; a setting without a mark has answers that are all alike, and a mark "
        "without a line too few subjects for an interval. Below: accuracy "
        "against recall of the current word on held-out clips, one mark for each model. Lines are "
        "95 % intervals over subjects and clips; grey diamonds are the same models with random "
        "weights; dotted: chance, and no correlation.",
        width_inches=PAGE_INCHES,
        height_inches=5.2,
        keys=(Key({**inks, "random weights": _CONTROL, _SHUFFLED: Ink("empty")}, n_columns=4),),
    )


def _headline(result: StudyResult) -> pl.DataFrame:
    norm, region = result.settings["norm"], result.settings["region"]
    return result.frame("accuracy").filter(
        pl.col("norm") == norm, pl.col("region") == region, pl.col("grouping") == "all"
    )


def _accuracy(frame: pl.DataFrame, inks: Mapping[str, Ink]) -> Panel:
    settings = [s for s in SETTINGS if s in set(frame["setting"])]
    x = _named("prompt -> completion", settings)
    return _points(frame, "setting", settings, x, inks, "facts")


def _pairs(result: StudyResult, inks: Mapping[str, Ink]) -> Chart:
    frame = result.frame("pairs").filter(pl.col("norm") == "mean", pl.col("region") == "all")
    named = pl.concat_str([pl.col("set"), pl.col("modality")], separator=", ")
    frame = frame.with_columns(what=named)
    sets = list(dict.fromkeys(frame["what"]))
    panel = _points(frame, "what", sets, _named("", sets), inks, "")
    return Chart(
        rows=((panel,),),
        title="Pairs",
        description="Share of pairs whose right side is likelier, nats a token over all tokens. "
        "Lines are 95 % intervals; grey diamonds are random weights; dotted: chance.",
        width_inches=PAGE_INCHES,
        height_inches=2.6,
        keys=(Key({**inks, "random weights": _CONTROL}, n_columns=4),),
    )


def _named(label: str, names: Sequence[str]) -> Axis:
    ticks = tuple(map(float, range(len(names))))
    return Axis(label, low=-0.5, high=len(names) - 0.5, ticks=ticks, names=tuple(names))


def _points(
    frame: pl.DataFrame,
    column: str,
    values: Sequence[str],
    x: Axis,
    inks: Mapping[str, Ink],
    title: str,
) -> Panel:
    """Accuracies side by side: one place for each value, in it one mark for each model."""
    lines, marks = list[Line](), list[Mark]()
    step = 0.7 / (2 * len(inks))
    for i, (model, ink) in enumerate(inks.items()):
        for j, (name, of) in enumerate(((model, ink), (model + RANDOM, _CONTROL))):
            entry = model if j == 0 else "random weights"
            for row in frame.filter(pl.col("model") == name).iter_rows(named=True):
                at = values.index(row[column]) + step * (2 * i + j - len(inks) + 0.5)
                if j == 0 or len(inks) <= _FEW or row["low"] is None:
                    marks.append(Mark(at, row["estimate"], of, entry=entry))
                lines += _upright(name, at, row, of, entry)
    y = Axis("share right", low=-0.02, high=1.02, ticks=_SHARE)
    return Panel(x, y, title, lines=tuple(lines), marks=tuple(marks), rules=(_CHANCE,))


def _upright(name: str, at: float, row: Mapping[str, Any], ink: Ink, entry: str) -> list[Line]:
    """An interval as an upright line."""
    if row["low"] is None:
        return []
    ends = np.array([row["low"], row["high"]], dtype=np.float64)
    pen = Ink(ink.colour, weight=ink.weight)
    return [Line(name, np.array([at, at], dtype=np.float64), ends, pen, entry=entry)]


def _level(name: str, at: float, low: float, high: float, ink: Ink, entry: str) -> Line:
    ends = np.array([low, high], dtype=np.float64)
    return Line(name, ends, np.array([at, at], dtype=np.float64), ink, entry=entry)


def _models(result: StudyResult, inks: Mapping[str, Ink], setting: str) -> Panel:
    """A mark for each model, and in grey for the same with random weights."""
    frame = _headline(result).filter(pl.col("setting") == setting)
    peaks = result.frame("transcription")
    lines, marks = list[Line](), list[Mark]()
    everyone = [(m, ink, m) for m, ink in inks.items()]
    everyone += [(m + RANDOM, _CONTROL, "random weights") for m in inks]
    for name, ink, entry in everyone:
        peak = peaks.row(by_predicate=pl.col("model") == name, named=True)
        row = frame.row(by_predicate=pl.col("model") == name, named=True)
        marks.append(Mark(peak["recall"], row["estimate"], ink, entry=entry))
        lines += _upright(name, peak["recall"], row, ink, entry)
        if peak["low"] is not None:
            pen = Ink(ink.colour, weight=ink.weight)
            lines.append(_level(name, row["estimate"], peak["low"], peak["high"], pen, entry))
    x = Axis("peak recall of the current word", low=-0.03, high=1.03, ticks=_SHARE)
    y = Axis("share right", low=-0.02, high=1.02, ticks=_SHARE)
    title = f"models, {setting}"
    return Panel(x, y, title, lines=tuple(lines), marks=tuple(marks), rules=(_CHANCE,))


def _correlations(result: StudyResult, inks: Mapping[str, Ink]) -> Panel:
    """Point-biserial correlations: settings from above, in each the models from above."""
    frame = result.frame("correlations").filter(pl.col("statistic") == POINT_BISERIAL)
    words = "subject" if "subject" in set(frame["words"]) else "content"
    frame = frame.filter(pl.col("words") == words)
    settings = [s for s in SETTINGS if s in set(frame["setting"])]
    lines, marks = list[Line](), list[Mark]()
    step = 0.8 / len(inks)
    for i, setting in enumerate(settings):
        for j, (model, ink) in enumerate(inks.items()):
            chosen = frame.filter(pl.col("model") == model, pl.col("setting") == setting)
            at = -float(i) - step * (j - (len(inks) - 1) / 2)
            for row in chosen.iter_rows(named=True):
                lines += _with_control(model, at, 0.4 * step, row, ink)
                if row["estimate"] is not None:
                    marks.append(Mark(row["estimate"], at, ink, entry=model))
    ticks = tuple(-float(i) for i in range(len(settings)))
    y = Axis("", low=-len(settings) + 0.4, high=0.6, ticks=ticks, names=tuple(settings))
    what = "subject" if words == "subject" else "content words"
    x = Axis("point-biserial correlation")
    title = f"{what} transcribed, fact right"
    return Panel(x, y, title, lines=tuple(lines), marks=tuple(marks), rules=(_ZERO,))


def _with_control(
    model: str, at: float, half: float, row: Mapping[str, Any], ink: Ink
) -> list[Line]:
    """The bar of shuffled pairings, and the interval on it."""
    found = []
    if row["shuffled_low"] is not None:
        x = np.array([row["shuffled_low"], row["shuffled_high"]], dtype=np.float64)
        y = np.array([at, at], dtype=np.float64)
        edges: dict[str, Any] = {"low": y - half, "high": y + half}
        bar = Line(_SHUFFLED, x, y, Ink("empty", weight="thin"), band=0.8, entry=_SHUFFLED, **edges)
        found.append(bar)
    if row["low"] is not None:
        found.append(_level(model, at, row["low"], row["high"], Ink(ink.colour), model))
    return found


def _items(result: StudyResult, models: Sequence[str]) -> Chart:
    """Accuracy by rank of the subject: one panel for each model."""
    frame = result.frame("bins")
    labels = sorted(set(frame["ranks"]), key=_first)
    x = _named("rank of the subject", labels)
    y = Axis("share right", low=-0.02, high=1.02, ticks=_SHARE)
    panels = [_of_model(frame.filter(pl.col("model") == m), m, labels, x, y) for m in models]
    rows: list[tuple[Panel | None, ...]] = []
    n_columns = min(_COLUMNS, len(panels))
    for first in range(0, len(panels), n_columns):
        row: list[Panel | None] = list(panels[first : first + n_columns])
        rows.append((*row, *[None] * (n_columns - len(row))))
    return Chart(
        rows=tuple(rows),
        title="Knowledge by transcription",
        description="Share of facts right by the rank of the subject of a spoken prompt among "
        "text rows, at the layer where the model transcribes most. Upright lines are 95 % "
        "intervals over subjects (none for fewer than 5), bands hold 95 % of shuffled pairings; "
        "dotted: chance.",
        width_inches=PAGE_INCHES,
        height_inches=0.6 + 2.1 * len(rows),
        keys=(Key(_HEARD, n_columns=2),),
    )


def _first(ranks: str) -> int:
    """First rank of a group: "2-5" and ">20" begin with 2 and 21."""
    return int(ranks[1:]) + 1 if ranks.startswith(">") else int(ranks.split("-")[0])


def _of_model(frame: pl.DataFrame, model: str, labels: list[str], x: Axis, y: Axis) -> Panel:
    lines, marks = list[Line](), list[Mark]()
    counts = dict(frame.select("ranks", "n_items").iter_rows())  # the same in both settings
    subtitle = f"items: {', '.join(str(counts.get(label, 0)) for label in labels)}"
    for i, (setting, ink) in enumerate(_HEARD.items()):
        rows = frame.filter(pl.col("setting") == setting).to_dicts()
        rows.sort(key=lambda row: labels.index(row["ranks"]))
        if not rows:
            continue
        at = np.array([labels.index(r["ranks"]) + 0.12 * (i - 0.5) for r in rows], dtype=np.float64)
        known = [r["shuffled_low"] is not None for r in rows]
        band: dict[str, Any] = {}
        if all(known):
            band = {
                "low": np.array([r["shuffled_low"] for r in rows], dtype=np.float64),
                "high": np.array([r["shuffled_high"] for r in rows], dtype=np.float64),
            }
        share = np.array([r["estimate"] for r in rows], dtype=np.float64)
        lines.append(Line(f"{model}, {setting}", at, share, ink, entry=setting, **band))
        for place, row in zip(at.tolist(), rows, strict=True):
            marks.append(Mark(place, row["estimate"], ink, entry=setting))
            lines += _upright(setting, place, row, ink, setting)
    return Panel(x, y, model, subtitle, tuple(lines), tuple(marks), rules=(_CHANCE,))
