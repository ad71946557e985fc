"""Figures of the study ``phases``: a row for each model, however many there are."""

from typing import Any

import polars as pl

from slm_lens.studies.study_result import StudyResult
from slm_lens.views._table import curve, numbers
from slm_lens.views.chart import PAGE_INCHES, Chart, Key
from slm_lens.views.panel import Axis, Line, Mark, Panel, Rule
from slm_lens.views.studies._phase_errors import errors_chart, example_chart
from slm_lens.views.style import Dash, Ink

_KS = (1, 5, 10)
_RECALLS = (
    ("current", "max", Ink("current", marker="circle"), "current word"),
    ("next", "last", Ink("next", marker="square"), "next word"),
)
_CONTROLS: dict[str, tuple[Dash, bool, str]] = {  # with a band or not, and its entry of the key
    "shuffled": ("dashed", True, "shuffled words"),
    "frequency matched": ("dash-dot", False, "frequency-matched words"),
    "random weights": ("dotted", False, "random weights"),
}
_MEASURES = {"mass": "softmax mass", "argmax": "top token", "top10": "top ten tokens"}
_PHASES = {
    "current word": Ink("current", marker="circle"),
    "next word": Ink("next", marker="square"),
    "return to speech": Ink("speech", marker="diamond"),
}
_GREY = {
    "shuffled words, same layer": ("shuffled", Ink("grey", marker="triangle-down")),
    "permuted words, best layer, 95 %": ("permuted_peak_95", Ink("grey", marker="triangle")),
}
_NO_CLAIM = "not above its controls"


def phases_figures(result: StudyResult) -> dict[str, Chart]:
    """The figures of the study.

    Args:
        result: of the study ``phases``.

    Returns:
        Recalls and speech mass by depth; where the phases are and how high the recalls, for all
        models; modality by three measures; classes of errors by layer; the grid of one clip.
    """
    curves, names = result.frame("curves"), list(result.provenance)
    return {
        "phases": _recall_chart(curves, names),
        "models": _models_chart(result, names),
        "modality": _modality_chart(curves, names),
        "errors": errors_chart(result.frame("errors"), names),
        "example": example_chart(result.frame("grid"), names),
    }


def _depth() -> Axis:
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    return Axis("depth (layer / last layer)", low=-0.03, high=1.03, ticks=ticks,
                names=("0", ".25", ".5", ".75", "1"))  # fmt: skip


def _rows(curves: pl.DataFrame, model: str, **keys: Any) -> pl.DataFrame:
    where = [pl.col(c).eq_missing(pl.lit(v)) for c, v in ({"model": model} | keys).items()]
    return curves.filter(*where).sort("layer")


def _of(name: str, n: int) -> str:
    """Name of a row's axis: short enough to stand along it."""
    most = 24
    return f"{name if len(name) <= most else f'…{name[1 - most :]}'}{f', n = {n}' if n else ''}"


def _recall_chart(curves: pl.DataFrame, names: list[str]) -> Chart:
    depth, rows = _depth(), []
    for i, name in enumerate(names):
        n = int(_rows(curves, name, measure="text_mass", control="none")["n_words"][0])
        share = Axis(_of(name, n), low=-0.03, high=1.05, ticks=(0.0, 0.5, 1.0))
        panels = [_recall_panel(curves, name, k, depth, share, is_first=i == 0) for k in _KS]
        mass = [line for m in ("text", "speech") for line in _share(curves, name, m, "mass")]
        rule = Rule(_rows(curves, name, measure="text_mass", control="none")["chance"][0], "y",
                    Ink("text", "dashed", None, "thin"))  # fmt: skip
        title = "softmax mass" if i == 0 else ""
        rows.append((*panels, Panel(depth, share, title, lines=tuple(mass), rules=(rule,))))
    key = {entry: Ink(ink.colour) for _, _, ink, entry in _RECALLS}
    key |= {m: Ink(m) for m in ("text", "speech")}
    key |= {said: Ink("grey", dash, None, "thin") for dash, _, said in _CONTROLS.values()}
    key["random ranking"] = Ink("grey", "fine-dotted", None, "thin")
    key["text rows / all rows"] = Ink("text", "dashed", None, "thin")
    return Chart(
        rows=tuple(rows),
        title="Phases by depth",
        description="Share of words whose own token (logits pooled by maximum over the word's "
        "positions), or whose next word's token (at the last position), is among the k highest "
        "text tokens, by depth, with 95 % bands, controls and the level of a random ranking; and "
        f"the softmax mass of text and speech. A row is a model: {', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=0.95 + 1.25 * len(names),
        keys=(Key(key, n_columns=5),),
    )


def _recall_panel(
    curves: pl.DataFrame, model: str, k: int, depth: Axis, share: Axis, *, is_first: bool
) -> Panel:
    lines = []
    for target, pool, ink, entry in _RECALLS:
        keys: dict[str, Any] = {"measure": f"{target}_word_recall", "vocab": "text", "pool": pool}
        for control, (dash, is_band, said) in _CONTROLS.items():
            rows = _rows(curves, model, control=control, k=k, **keys)
            thin = Ink(ink.colour, dash, None, "thin")
            band = ("low", "high") if is_band else None
            lines.append(curve(rows, f"{target} word, {control}", thin, x="depth", interval=band,
                               band=0.12, entry=said))  # fmt: skip
        rows = _rows(curves, model, control="none", k=k, **keys)
        lines.append(curve(rows, f"{target} word", Ink(ink.colour), x="depth", band=0.2,
                           entry=entry))  # fmt: skip
    title = f"recall@{k} in text" if is_first else ""
    chance = _rows(curves, model, measure="current_word_recall", vocab="text", pool="max",
                   control="none", k=k)["chance"][0]  # fmt: skip
    rule = Rule(chance, "y", Ink("grey", "fine-dotted", None, "thin"))
    return Panel(depth, share, title, lines=tuple(lines), rules=(rule,))


def _models_chart(result: StudyResult, names: list[str]) -> Chart:
    """Where the phases are, and the headline recall, one line for each model, from above."""
    ticks = tuple(float(-i) for i in range(len(names)))
    models = Axis("", low=-len(names) + 0.4, high=0.6, ticks=ticks,
                  names=tuple(_of(n, 0) for n in names))  # fmt: skip
    depths, recalls = _phase_parts(result, names), _headline_parts(result, names)
    key = {n: ink for n, ink in _PHASES.items()}
    key |= {_NO_CLAIM: Ink("grey", marker="cross")}
    key |= {words: ink for words, (_, ink) in _GREY.items()}
    return Chart(
        rows=(
            (
                Panel(_depth(), models, "where the phases are", lines=depths[0], marks=depths[1]),
                Panel(Axis("recall@5 in text", low=-0.02, high=1.02), models,
                      "highest over layers", lines=recalls[0], marks=recalls[1]),
            ),
        ),
        title="Phases across models",
        description="Depth of the current-word peak, the next-word peak and the return to speech, "
        "and the highest recall@5 in text, with 95 % intervals and controls, of each model. A "
        "cross is a peak that is not above its controls.",
        width_inches=PAGE_INCHES,
        height_inches=1.3 + 0.45 * len(names),
        keys=(Key(key, n_columns=3),),
    )  # fmt: skip


def _phase_parts(
    result: StudyResult, names: list[str]
) -> tuple[tuple[Line, ...], tuple[Mark, ...]]:
    lines, marks = [], []
    for row in result.frame("phase_layers").iter_rows(named=True):
        if row["phase"] not in _PHASES:
            continue
        ink, place = _PHASES[row["phase"]], list(_PHASES).index(row["phase"])
        height = -names.index(row["model"]) + 0.22 * (1 - place)
        if row["above_controls"] is False:
            ink = Ink(ink.colour, marker="cross")
        if row["depth"] is not None:
            marks.append(Mark(row["depth"], height, ink, entry=row["phase"]))
        ends = row["depth_low"], row["depth_high"]
        lines += _interval(ends, height, ink, f"{row['model']}, {row['phase']}", row["phase"])
    return tuple(lines), tuple(marks)


def _headline_parts(
    result: StudyResult, names: list[str]
) -> tuple[tuple[Line, ...], tuple[Mark, ...]]:
    lines, marks = [], []
    for row in result.frame("headline").filter(vocab="text", k=5).iter_rows(named=True):
        phase = "current word" if row["measure"].startswith("current") else "next word"
        height = -names.index(row["model"]) + (0.15 if phase == "current word" else -0.15)
        for column, ink in _GREY.values():
            marks.append(Mark(row[column], height, ink))
        marks.append(Mark(row["recall"], height, _PHASES[phase], entry=phase))
        ends = row["low"], row["high"]
        lines += _interval(ends, height, _PHASES[phase], f"{row['model']}, {phase}", phase)
    return tuple(lines), tuple(marks)


def _interval(
    ends: tuple[float | None, float | None], height: float, ink: Ink, name: str, entry: str
) -> list[Line]:
    if None in ends:
        return []
    return [Line(name, numbers(pl.Series(ends)), numbers(pl.Series([height] * 2)),
                 Ink(ink.colour), entry=entry)]  # fmt: skip


def _share(curves: pl.DataFrame, model: str, modality: str, measure: str) -> list[Line]:
    """A modality's preference, and that of random weights."""
    name = f"{modality}_{measure}"
    own, random = (
        _rows(curves, model, measure=name, control=c) for c in ("none", "random weights")
    )
    said, thin = f"{modality} {_MEASURES[measure]}", Ink(modality, "dotted", None, "thin")
    return [
        curve(random, f"{said}, random weights", thin, x="depth", interval=None,
              entry="random weights"),
        curve(own, said, Ink(modality), x="depth", band=0.2, entry=modality),
    ]  # fmt: skip


def _modality_chart(curves: pl.DataFrame, names: list[str]) -> Chart:
    depth, rows = _depth(), []
    for i, name in enumerate(names):
        n = int(_rows(curves, name, measure="text_mass", control="none")["n_words"][0])
        share = Axis(_of(name, n), low=-0.03, high=1.05, ticks=(0.0, 0.5, 1.0))
        panels = []
        for measure, title in _MEASURES.items():
            lines, rules = [], []
            for modality in ("text", "speech"):
                lines += _share(curves, name, modality, measure)
                chance = _rows(curves, name, measure=f"{modality}_{measure}", control="none")
                rules.append(Rule(chance["chance"][0], "y", Ink(modality, "dashed", None, "thin")))
            panels.append(
                Panel(depth, share, title if i == 0 else "", lines=tuple(lines), rules=tuple(rules))
            )
        rows.append(tuple(panels))
    key = {
        "text": Ink("text"),
        "speech": Ink("speech"),
        "random weights": Ink("grey", "dotted", None, "thin"),
        "chance: rows of that modality / all rows": Ink("grey", "dashed", None, "thin"),
    }
    return Chart(
        rows=tuple(rows),
        title="Modality by three measures",
        description="Share of text and of speech by depth: softmax mass, share of top tokens and "
        "share of the ten highest tokens, with 95 % bands, random weights and chance. A row is a "
        f"model: {', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=0.8 + 1.25 * len(names),
        keys=(Key(key),),
    )
