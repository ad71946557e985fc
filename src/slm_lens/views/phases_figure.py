"""The phases of one or more models as a figure for a paper.

One column for each model. Above: recall@5 of the current word (text, maximum over its positions)
and of the next word (text, at the word's last position) over layers, with 95 % bands, the shuffled
words dashed, random weights dotted, and a marker at each peak. Below: which modality each layer
speaks, as softmax mass and as share of top tokens, with the layer of the return to speech.

Colours: Okabe and Ito 2008, "Color universal design", which are told apart by colour-blind readers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.phases.result import Phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_BLUE, _VERMILLION, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
_RECALLS = (("current", "max", _BLUE, "o"), ("next", "last", _VERMILLION, "s"))
_MODALITIES = (("text", _GREEN), ("speech", _PURPLE))
_RANDOM = "random weights"
_STYLE: dict[Any, Any] = {
    "font.size": 7,
    "font.family": "sans-serif",
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "slm-lens",  # the same figure is the same file
}
_SHUFFLED_LINE: dict[str, Any] = {"lw": 0.9, "ls": (0, (4, 2))}
_DOTTED_LINE: dict[str, Any] = {"lw": 0.9, "ls": (0, (1, 1.5))}
_KEY: dict[str, Any] = {
    "frameon": False,
    "handlelength": 2.4,
    "columnspacing": 1.4,
    "labelspacing": 0.35,
}
_COLUMN_INCHES, _HEIGHT_INCHES = 3.35, 3.9  # one column of a two-column paper


def phases_figure(phases: Phases | Sequence[Phases]) -> "Figure":
    """Recall and modality over layers, one column for each model.

    Args:
        phases: one result, or one for each column.

    Returns:
        A figure that belongs to no window; show it in a notebook by naming it, or save it with
        `save_figure`.

    Raises:
        ValueError: there is nothing to draw.
    """
    columns = [phases] if isinstance(phases, Phases) else list(phases)
    if not columns:
        raise ValueError("phases_figure: got no results, expected at least one `Phases`.")
    with style():
        from matplotlib.figure import Figure

        width = _COLUMN_INCHES if len(columns) == 1 else 1.0 + 2.35 * len(columns)
        figure = Figure(figsize=(width, _HEIGHT_INCHES), layout="constrained")
        axes = figure.subplots(
            2, len(columns), sharex="col", sharey="row", squeeze=False, height_ratios=(1.25, 1)
        )
        for (upper, lower), one in zip(axes.T, columns, strict=True):
            _draw_recall(upper, one)
            _draw_modality(lower, one)
        axes[0, 0].set_ylim(0, min(1.02, axes[0, 0].get_ylim()[1]))  # the row shares its limits
        axes[0, 0].set_ylabel("recall@5 in text")
        axes[1, 0].set_ylabel("share")
        controls = set().union(*(c.curves["control"].unique() for c in columns))
        key: dict[str, Any] = {**_KEY, "ncols": 2 if len(columns) == 1 else 4}
        figure.legend(handles=_recall_key(controls), **key, loc="outside upper center")
        figure.legend(handles=_modality_key(), **key, loc="outside lower center")
    return figure


def save_figure(figure: "Figure", path_stem: Path) -> tuple[Path, Path]:
    """Save a figure as PNG (300 dots per inch) and SVG; an interruption leaves no part.

    Args:
        figure: what `phases_figure` returned.
        path_stem: path without suffix; its folder is made if needed.

    Returns:
        The PNG's and the SVG's path.
    """
    paths = []
    for suffix, options in (("png", {"dpi": 300}), ("svg", {"metadata": {"Date": None}})):
        path = path_stem.with_name(f"{path_stem.name}.{suffix}")

        def write(part: Path, kind: str = suffix, options: dict[str, Any] = options) -> None:
            figure.savefig(part, format=kind, **options)

        with style():
            write_atomically(path, write)
        paths.append(path)
    return paths[0], paths[1]


@contextmanager
def style() -> Iterator[None]:
    """The looks of every figure, while the context lasts."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def _draw_recall(ax: "Axes", phases: Phases) -> None:
    known = set(phases.curves["control"].unique())
    peaks = []
    for target, pool, colour, marker in _RECALLS:
        keys: dict[str, Any] = {"vocab": "text", "pool": pool, "k": 5}
        measure = f"{target}_word_recall"
        rows = phases.curve(measure, **keys)
        _band(ax, rows, colour, 0.2)
        ax.plot(rows["layer"], rows["estimate"], color=colour, label=f"{target} word")
        if "shuffled" in known:
            other = phases.curve(measure, control="shuffled", **keys)
            _band(ax, other, colour, 0.1)
            ax.plot(other["layer"], other["estimate"], color=colour, **_SHUFFLED_LINE)
        if _RANDOM in known:
            other = phases.curve(measure, control=_RANDOM, **keys)
            ax.plot(other["layer"], other["estimate"], color=colour, **_DOTTED_LINE)
        peak = {"current": phases.current_word, "next": phases.next_word}[target].layer
        if peak is not None:
            peaks.append((rows["estimate"][peak], peak, colour, marker))
    for i, (recall, layer, colour, marker) in enumerate(sorted(peaks, reverse=True)):
        apart = i == 1 and abs(layer - max(peaks)[1]) <= 1  # keep the two numbers apart
        below = apart or recall > 0.9  # and off the title
        _mark_peak(ax, layer, recall, colour, marker, offset=-10.5 if below else 4.5)
    ax.set_title(phases.model, pad=11)
    of = "content words" if phases.words == "content" else "words"
    sizes = f"{phases.n_words} {of}, {phases.n_utterances} utterances"
    if phases.lens != LOGIT_LENS:
        sizes += f"; {phases.lens}"
    ax.text(0.5, 1.03, sizes, transform=ax.transAxes, ha="center", fontsize=6, color=_GREY)
    ax.margins(x=0.03)


def _mark_peak(
    ax: "Axes", layer: int, recall: float, colour: str, marker: str, *, offset: float
) -> None:
    ax.plot(layer, recall, marker, color=colour, ms=5, mec="white", mew=0.8, zorder=5)
    ax.annotate(
        f"{recall:.2f}",
        (layer, recall),
        xytext=(0, offset),
        textcoords="offset points",
        ha="center",
        fontsize=6.5,
        color=colour,
    )


def _draw_modality(ax: "Axes", phases: Phases) -> None:
    for modality, colour in _MODALITIES:
        mass = phases.curve(f"{modality}_mass")
        top = phases.curve(f"{modality}_argmax")
        _band(ax, mass, colour, 0.2)
        ax.plot(mass["layer"], mass["estimate"], color=colour)
        ax.plot(top["layer"], top["estimate"], color=colour, **_SHUFFLED_LINE)
        if modality == "text":
            ax.axhline(mass["chance"][0], color=_GREY, zorder=0, **_DOTTED_LINE)
    back = phases.return_to_speech.layer
    if back is not None:
        ax.axvline(back, color=_GREY, lw=0.7, zorder=0)
        place = {"va": "bottom", "fontsize": 6, "color": _GREY}
        side = "right" if back > 0.7 * phases.n_layers else "center"
        ax.text(back, 1.03, "return to speech", ha=side, **place)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("layer (0 = embedding)")
    ax.set_xticks(_layer_ticks(phases.n_layers))


def _band(ax: "Axes", rows: pl.DataFrame, colour: str, alpha: float) -> None:
    rows = rows.drop_nulls(["low", "high"])
    ax.fill_between(rows["layer"], rows["low"], rows["high"], color=colour, alpha=alpha, lw=0)


def _layer_ticks(n_layers: int) -> list[int]:
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100) if n_layers / s <= 10)
    return list(range(0, n_layers + 1, step))


def _recall_key(controls: set[str]) -> list["Line2D"]:
    from matplotlib.lines import Line2D

    words = ("current word (max over positions)", "next word (last position)")
    key = [
        Line2D([], [], color=colour, marker=marker, ms=4, mec="white", mew=0, label=label)
        for (_, _, colour, marker), label in zip(_RECALLS, words, strict=True)
    ]
    if "shuffled" in controls:
        key.append(Line2D([], [], color=_GREY, label="shuffled words", **_SHUFFLED_LINE))
    if _RANDOM in controls:
        key.append(Line2D([], [], color=_GREY, label=_RANDOM, **_DOTTED_LINE))
    return key


def _modality_key() -> list["Line2D"]:
    from matplotlib.lines import Line2D

    key = [Line2D([], [], color=c, label=f"{name} mass") for name, c in _MODALITIES]
    key.append(Line2D([], [], color=_GREY, label="share of top tokens", **_SHUFFLED_LINE))
    key.append(Line2D([], [], color=_GREY, label="text rows / all rows", **_DOTTED_LINE))
    return key
