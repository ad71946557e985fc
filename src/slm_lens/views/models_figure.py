"""Phases of several models side by side, over depth: layer / number of layers.

Recall of the current and of the next word and the speech mass, one line for each model; and where
in each model the phases are, with 95 % intervals.
"""

from collections.abc import Sequence

import numpy as np

from slm_lens.phases.result import LayerEstimate, Phases
from slm_lens.views._table import numbers
from slm_lens.views.chart import PAGE_INCHES, Chart, Key
from slm_lens.views.panel import Axis, Line, Mark, Panel
from slm_lens.views.style import INKS, Ink

_DEPTH = "depth (0 = embedding, 1 = last layer)"
_PHASES = {
    "current word": Ink("current", marker="circle"),
    "next word": Ink("next", marker="square"),
    "return to speech": Ink("speech", marker="diamond"),
}


def models_figure(phases: Sequence[Phases]) -> Chart:
    """Phase diagram of several models at equal depth.

    Args:
        phases: one result for each model, six at most, with names that differ.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: no model or more than six, or a name twice.
    """
    names = [one.model for one in phases]
    if not 1 <= len(names) <= len(INKS) or len(set(names)) != len(names):
        raise ValueError(
            f"models_figure: got results of {names}, expected 1 to {len(INKS)} models with names "
            "that differ."
        )
    inks = dict(zip(names, INKS, strict=False))
    depth = Axis(_DEPTH, low=-0.03, high=1.03, ticks=(0.0, 0.25, 0.5, 0.75, 1.0))
    recall = Axis("recall@5 in text", low=0.0, high=1.02)
    keys = {"vocab": "text", "k": 5}
    current = [_line(p, "current_word_recall", inks[p.model], pool="max", **keys) for p in phases]
    next_ = [_line(p, "next_word_recall", inks[p.model], pool="last", **keys) for p in phases]
    mass = [_line(p, "speech_mass", inks[p.model]) for p in phases]
    share = Axis("speech mass", low=-0.02, high=1.02)
    rows = (
        (
            Panel(depth, recall, "current word", lines=tuple(current)),
            Panel(depth, recall, "next word", lines=tuple(next_)),
        ),
        (_where(phases, names, depth), Panel(depth, share, "speech", lines=tuple(mass))),
    )
    return Chart(
        rows=rows,
        title="Phases by depth",
        description="Recall of the current and the next word and the speech mass by depth, and the "
        f"depth of each phase with its interval. Models: {', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=4.6,
        keys=(Key(inks, n_columns=len(inks)), Key(_PHASES, "below", 3)),
    )


def _line(phases: Phases, measure: str, ink: Ink, **keys: str | int) -> Line:
    rows = phases.curve(measure, **keys)  # pyright: ignore[reportArgumentType]
    low, high = numbers(rows["low"]), numbers(rows["high"])
    is_band = bool(np.isfinite(low).any())
    return Line(
        phases.model,
        numbers(rows["layer"]) / phases.n_layers,
        numbers(rows["estimate"]),
        ink,
        low if is_band else None,
        high if is_band else None,
        details=tuple(f"layer: {layer} of {phases.n_layers}" for layer in rows["layer"]),
    )


def _where(phases: Sequence[Phases], names: list[str], depth: Axis) -> Panel:
    """Peaks and intervals: one line of the panel for each model, from above."""
    lines, marks = [], []
    for i, one in enumerate(phases):
        found = (one.current_word, one.next_word, one.return_to_speech)
        for j, (estimate, (name, ink)) in enumerate(zip(found, _PHASES.items(), strict=True)):
            height = -i + 0.22 * (1 - j)
            if estimate.layer is not None:
                marks.append(Mark(estimate.layer / one.n_layers, height, ink, entry=name))
            lines += _interval(estimate, one, height, Ink(ink.colour), name)
    ticks = tuple(float(-i) for i in range(len(names)))
    models = Axis("", low=-len(names) + 0.4, high=0.6, ticks=ticks, names=tuple(names))
    return Panel(depth, models, "where the phases are", lines=tuple(lines), marks=tuple(marks))


def _interval(
    estimate: LayerEstimate, phases: Phases, height: float, ink: Ink, name: str
) -> list[Line]:
    low, high = estimate.interval
    if low is None or high is None:
        return []
    ends = np.array([low, high]) / phases.n_layers
    details = (f"95 % interval: layers {low} to {high} of {phases.n_layers}",) * 2
    return [Line(f"{phases.model}, {name}", ends, np.full(2, height), ink, entry=name,
                 details=details)]  # fmt: skip
