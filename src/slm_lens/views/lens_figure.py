"""Fitted lenses beside the logit lens.

Left and middle: how far each lens is from the model's own prediction, layer by layer, at speech and
at text positions, on a logarithmic scale that has no place for the last layer, where every lens is
the model itself; the middle layers, over which one number is given, are shaded. Right: recall@5 of
the spoken word at its own positions, through the logit lens and through lenses that were fitted at
text and at speech positions, with 95 % bands.
"""

from collections.abc import Mapping

import polars as pl

from slm_lens.phases.result import Phases
from slm_lens.views._table import curve
from slm_lens.views.chart import PAGE_INCHES, Chart, Key, one_row
from slm_lens.views.panel import Axis, Panel, Shade, layer_axis
from slm_lens.views.style import Ink

_LINES: dict[str, tuple[str, Ink]] = {
    "logit": ("logit lens", Ink("black", "solid", "circle")),
    "text": ("tuned at text", Ink("text", "solid", "square")),
    "speech": ("tuned at speech", Ink("speech", "dashed", "triangle")),
    "all": ("tuned at all", Ink("blue", "dotted", "diamond")),
    "jacobian": ("Jacobian at text", Ink("orange", "dash-dot", "triangle-down")),
}
_IN_WORDS = ("logit", "text", "speech")
_HEIGHT_INCHES = 2.45


def lens_figure(divergence: pl.DataFrame, phases: Mapping[str, Phases]) -> Chart:
    """KL by layer of several lenses, and the recall of spoken words through them.

    Args:
        divergence: what `slm_lens.lens_divergence` gave for lenses with names among ``"logit"``,
            ``"text"``, ``"speech"``, ``"all"`` (tuned lenses by where they were fitted) and
            ``"jacobian"``.
        phases: by the same names; ``"logit"``, ``"text"`` and, if given, ``"speech"`` are drawn.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

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
    kl = Axis("KL(final || lens)", "nats", is_log=True)
    speech, text = (
        _divergence_panel(divergence.filter(positions=positions), positions, kl)
        for positions in ("speech", "text")
    )
    return Chart(
        rows=one_row([speech, text, _recall_panel(phases)]),
        title="Lenses",
        description="KL from the model's own prediction by layer, at speech and at text positions, "
        "and recall@5 of the spoken word by layer, through each lens.",
        width_inches=PAGE_INCHES,
        height_inches=_HEIGHT_INCHES,
        keys=(Key(dict(_LINES[name] for name in _LINES if name in names), n_columns=len(names)),),
    )


def _divergence_panel(table: pl.DataFrame, positions: str, kl: Axis) -> Panel:
    last = table["layer"].to_numpy().max()
    below = table.filter(pl.col("layer") < last)
    lines = tuple(
        curve(rows, name, ink, y="kl_nats", interval=None)
        for lens, (name, ink) in _LINES.items()
        if not (rows := below.filter(lens=lens)).is_empty()
    )
    n_positions = table["n_positions"].to_list()[:1]
    title = f"at {positions} positions" + "".join(f" (n = {n})" for n in n_positions)
    shade = Shade(float(last // 4), float(3 * last // 4), "middle layers")
    return Panel(layer_axis(int(last)), kl, title, lines=lines, shades=(shade,))


def _recall_panel(phases: Mapping[str, Phases]) -> Panel:
    one = phases["logit"]
    lines = []
    for lens in (n for n in _IN_WORDS if n in phases):
        rows = phases[lens].curve("current_word_recall", vocab="text", pool="max", k=5)
        lines.append(curve(rows, *_LINES[lens]))
    of = "content words" if one.words == "content" else "words"
    recall = Axis("current-word recall@5 in text", low=0.0)
    title = f"spoken {of} (n = {one.n_words})"
    return Panel(layer_axis(one.n_layers), recall, title, lines=tuple(lines))
