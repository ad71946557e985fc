"""Fitted lenses beside the logit lens, as a figure for a paper.

Left and middle: how far each lens is from the model's own prediction, layer by layer, at speech and
at text positions, on a logarithmic scale that has no place for the last layer, where every lens is
the model itself; the middle layers, over which one number is given, are shaded. Right: recall@5 of
the spoken word at its own positions, through the logit lens and through lenses that were fitted at
text and at speech positions, with 95 % bands.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from slm_lens.phases.result import Phases
from slm_lens.views.phases_figure import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008; dashes and markers tell the lines apart in print without colours, too.
_LINES: dict[str, dict[str, Any]] = {
    "logit": {"color": "#000000", "ls": "-", "marker": "o", "label": "logit lens"},
    "text": {"color": "#009E73", "ls": "-", "marker": "s", "label": "tuned at text"},
    "speech": {"color": "#CC79A7", "ls": "--", "marker": "^", "label": "tuned at speech"},
    "all": {"color": "#0072B2", "ls": ":", "marker": "D", "label": "tuned at all"},
    "jacobian": {"color": "#E69F00", "ls": "-.", "marker": "v", "label": "Jacobian at text"},
}
_IN_WORDS = ("logit", "text", "speech")
_SIZE_INCHES = (7.0, 2.45)  # across both columns of a paper


def lens_figure(divergence: pl.DataFrame, phases: Mapping[str, Phases]) -> "Figure":
    """KL by layer of several lenses, and the recall of spoken words through them.

    Args:
        divergence: what `slm_lens.lens_divergence` gave for lenses with names among ``"logit"``,
            ``"text"``, ``"speech"``, ``"all"`` (tuned lenses by where they were fitted) and
            ``"jacobian"``.
        phases: by the same names; ``"logit"``, ``"text"`` and, if given, ``"speech"`` are drawn.

    Returns:
        A figure that belongs to no window; save it with `slm_lens.save_figure`.

    Raises:
        ValueError: a lens has another name, or one to draw is missing.
    """
    names = divergence["lens"].unique(maintain_order=True).to_list()
    odd, missing = sorted(set(names) - set(_LINES)), sorted({"logit", "text"} - set(phases))
    if odd or missing or not names:
        raise ValueError(
            f"lens_figure: got lenses {names} and phases {sorted(phases)}, expected lenses with "
            f"names among {list(_LINES)}, and phases of 'logit' and 'text'."
        )
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        speech, text, words = figure.subplots(1, 3)
        for ax, positions in ((speech, "speech"), (text, "text")):
            _draw_divergence(ax, divergence.filter(positions=positions), positions)
        text.sharey(speech)
        speech.autoscale(axis="y")
        text.tick_params(labelleft=False)
        speech.set_ylabel("KL(final || lens), nats")
        _draw_recall(words, phases)
        handles, labels = speech.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(names), frameon=False,
            handlelength=2.6, columnspacing=1.6,
        )  # fmt: skip
    return figure


def _draw_divergence(ax: "Axes", table: pl.DataFrame, positions: str) -> None:
    n_layers = 0
    for name, line in _LINES.items():
        rows = table.filter(pl.col("layer") < pl.col("layer").max(), lens=name).sort("layer")
        if rows.is_empty():
            continue
        n_layers = len(rows)
        ax.plot(rows["layer"], rows["kl_nats"], ms=2.6, mew=0, lw=1.1, clip_on=False, **line)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    low, high = n_layers // 4, 3 * n_layers // 4
    ax.axvspan(low, high, color="#000000", alpha=0.05, lw=0, zorder=0)
    place = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "top", "fontsize": 6}
    ax.text((low + high) / 2, 0.98, "middle layers", color="#666666", **place)
    n_positions = table["n_positions"].to_list()[:1]
    ax.set_title(f"at {positions} positions" + "".join(f" (n = {n})" for n in n_positions))
    _layers(ax, n_layers)


def _draw_recall(ax: "Axes", phases: Mapping[str, Phases]) -> None:
    n_layers = 0
    for name in (n for n in _IN_WORDS if n in phases):
        rows = phases[name].curve("current_word_recall", vocab="text", pool="max", k=5)
        n_layers = len(rows) - 1
        known = rows.drop_nulls(["low", "high"])
        line = _LINES[name]
        ax.fill_between(
            known["layer"], known["low"], known["high"], color=line["color"], alpha=0.15, lw=0
        )
        ax.plot(rows["layer"], rows["estimate"], ms=2.6, mew=0, lw=1.1, clip_on=False, **line)
    one = phases["logit"]
    of = "content words" if one.words == "content" else "words"
    ax.set_title(f"spoken {of} (n = {one.n_words})")
    ax.set_ylabel("current-word recall@5 in text")
    ax.set_ylim(bottom=0)
    _layers(ax, n_layers)


def _layers(ax: "Axes", n_layers: int) -> None:
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100) if n_layers / s <= 10)
    ax.set_xlabel("layer (0 = embedding)")
    ax.set_xticks(range(0, n_layers + 1, step))
    ax.margins(x=0.03)
