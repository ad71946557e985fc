"""The phases of one or more models.

One column for each model. Above: recall@5 of the current word (text, maximum over its positions)
and of the next word (text, at the word's last position) over layers, with 95 % bands, the shuffled
words dashed, random weights dotted, and a marker at each peak. Below: which modality each layer
speaks, as softmax mass and as share of top tokens, with the layer of the return to speech.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.phases.result import Phases
from slm_lens.views._table import curve
from slm_lens.views.chart import COLUMN_INCHES, Chart, Key
from slm_lens.views.panel import Axis, Line, Mark, Panel, Rule, layer_axis
from slm_lens.views.style import Ink

CURRENT, NEXT = "current word (max over positions)", "next word (last position)"
SHUFFLED, RANDOM, TOP = "shuffled words", "random weights", "share of top tokens"
_RECALLS = (
    ("current", "max", Ink("current", marker="circle"), CURRENT),
    ("next", "last", Ink("next", marker="square"), NEXT),
)
_HEIGHT_INCHES = 3.9
_GREY_DASHED, _GREY_DOTTED = (
    Ink("grey", "dashed", weight="thin"),
    Ink("grey", "dotted", None, "thin"),
)


def phases_figure(phases: Phases | Sequence[Phases]) -> Chart:
    """Recall and modality over layers, one column for each model.

    Args:
        phases: one result, or one for each column.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: there is nothing to draw.
    """
    columns = [phases] if isinstance(phases, Phases) else list(phases)
    if not columns:
        raise ValueError("phases_figure: got no results, expected at least one `Phases`.")
    lines = [_recall_lines(one) for one in columns]
    heights = np.concatenate([part for of in lines for line in of for part in _heights(line)])
    highest = heights.max(initial=0.0, where=np.isfinite(heights))
    recall = Axis("recall@5 in text", low=0.0, high=min(1.02, 1.05 * float(highest)) or 1.02)
    share = Axis("share", low=-0.02, high=1.02)
    upper, lower = [], []
    for one, of_one in zip(columns, lines, strict=True):
        layers = layer_axis(one.n_layers)
        upper.append(_recall_panel(one, of_one, layers, recall))
        lower.append(modality_panel(one, layers, share))
    names = ", ".join(one.model for one in columns)
    n_columns = 2 if len(columns) == 1 else 4
    keys = (_recall_key(columns), modality_key())
    return Chart(
        rows=(tuple(upper), tuple(lower)),
        title=f"Phases of {names}",
        description="Above, recall@5 in text of the current and the next word by layer; below, "
        f"the share of text and speech by layer. Models: {names}.",
        width_inches=COLUMN_INCHES if len(columns) == 1 else 1.0 + 2.35 * len(columns),
        height_inches=_HEIGHT_INCHES,
        keys=tuple(Key(of, at, n_columns) for of, at in zip(keys, ("above", "below"), strict=True)),
        row_heights=(1.25, 1.0),
    )


def _heights(line: Line) -> list[np.ndarray]:
    return [line.y] if line.high is None else [line.y, line.high]


def _recall_lines(phases: Phases) -> tuple[Line, ...]:
    known = set(phases.curves["control"].unique())
    lines = []
    for target, pool, ink, entry in _RECALLS:
        keys: dict[str, Any] = {"vocab": "text", "pool": pool, "k": 5}
        measure, word = f"{target}_word_recall", f"{target} word"
        rows = phases.curve(measure, **keys)
        lines.append(curve(rows, word, Ink(ink.colour), band=0.2, entry=entry))
        if "shuffled" in known:
            rows = phases.curve(measure, control="shuffled", **keys)
            thin = Ink(ink.colour, "dashed", weight="thin")
            name = f"{word}, {SHUFFLED}"
            lines.append(curve(rows, name, thin, band=0.1, entry=SHUFFLED))
        if RANDOM in known:
            rows = phases.curve(measure, control=RANDOM, **keys)
            thin, name = Ink(ink.colour, "dotted", weight="thin"), f"{word}, {RANDOM}"
            lines.append(curve(rows, name, thin, interval=None, entry=RANDOM))
    return tuple(lines)


def _recall_panel(phases: Phases, lines: tuple[Line, ...], layers: Axis, recall: Axis) -> Panel:
    of = "content words" if phases.words == "content" else "words"
    sizes = f"{phases.n_words} {of}, {phases.n_utterances} utterances"
    if phases.lens != LOGIT_LENS:
        sizes += f"; {phases.lens}"
    return Panel(layers, recall, phases.model, sizes, lines, _peaks(phases))


def _peaks(phases: Phases) -> tuple[Mark, ...]:
    """The peak of each recall, with its number."""
    found = []
    for target, pool, ink, entry in _RECALLS:
        layer = {"current": phases.current_word, "next": phases.next_word}[target].layer
        if layer is not None:
            rows = phases.curve(f"{target}_word_recall", vocab="text", pool=pool, k=5)
            found.append((float(rows["estimate"][layer]), layer, ink, entry))
    found.sort(key=lambda peak: -peak[0])
    marks = []
    for i, (recall, layer, ink, entry) in enumerate(found):
        is_near = i == 1 and abs(layer - found[0][1]) <= 1  # keep the two numbers apart
        is_below = is_near or recall > 0.9  # and off the title
        marks.append(Mark(float(layer), recall, ink, f"{recall:.2f}", is_below, entry))
    return tuple(marks)


def modality_panel(phases: Phases, layers: Axis, share: Axis, title: str = "") -> Panel:
    """Mass and share of top tokens of both modalities, with the layer of the return to speech.

    Args:
        phases: of one model.
        layers: the axis of layers.
        share: the axis of shares.
        title: of the panel.

    Returns:
        The panel.
    """
    lines, rules = [], []
    for modality in ("text", "speech"):
        mass = phases.curve(f"{modality}_mass")
        top = phases.curve(f"{modality}_argmax")
        name, thin = f"{modality} mass", Ink(modality, "dashed", weight="thin")
        lines.append(curve(mass, name, Ink(modality), band=0.2))
        lines.append(curve(top, f"{modality}, {TOP}", thin, interval=None, entry=TOP))
        if modality == "text":
            rules.append(Rule(mass["chance"][0], "y", Ink("grey", "dotted")))
    back = phases.return_to_speech.layer
    if back is not None:
        rules.append(Rule(float(back), "x", Ink("grey", weight="thin"), "return to speech"))
    return Panel(layers, share, title, lines=tuple(lines), rules=tuple(rules))


def modality_key() -> dict[str, Ink]:
    """What the lines of `modality_panel` mean.

    Returns:
        Inks by meaning.
    """
    return {
        "text mass": Ink("text"),
        "speech mass": Ink("speech"),
        TOP: _GREY_DASHED,
        "text rows / all rows": _GREY_DOTTED,
    }


def _recall_key(columns: Sequence[Phases]) -> dict[str, Ink]:
    controls = set().union(*(c.curves["control"].unique() for c in columns))
    key = {entry: ink for _, _, ink, entry in _RECALLS}
    if "shuffled" in controls:
        key[SHUFFLED] = _GREY_DASHED
    if RANDOM in controls:
        key[RANDOM] = _GREY_DOTTED
    return key
