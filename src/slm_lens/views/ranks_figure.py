"""Ranks by layer: lines of some tokens or words, and all words of an utterance as cells."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from slm_lens.lens.word_lens import WordLens
from slm_lens.views._table import check_columns, curve, grid, named_axis
from slm_lens.views.chart import COLUMN_INCHES, PAGE_INCHES, Chart, Key, Scale
from slm_lens.views.panel import Axis, HeatMap, Panel
from slm_lens.views.style import INKS

_CELL_INCHES = 0.3


def ranks_figure(ranks: Mapping[str, pl.DataFrame], *, label: str = "rank") -> Chart:
    """The rank of each token or word through the layers, first places on top.

    Args:
        ranks: by what is ranked, six at most: tables with ``layer`` and ``rank`` (from 1; null
            leaves a gap).
        label: what the ranks are among.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: no table or more than six, or a column is missing.
    """
    check_columns(ranks, ("layer", "rank"), "ranks_figure")
    if len(ranks) > len(INKS):
        raise ValueError(
            f"ranks_figure: got {len(ranks)} tables, expected at most {len(INKS)}: more are not "
            "told apart."
        )
    lines = tuple(
        curve(table, name, ink, y="rank", interval=None)
        for (name, table), ink in zip(ranks.items(), INKS, strict=False)
    )
    last = max(int(line.x.max()) for line in lines)
    worst = max([10.0, *(float(np.nanmax(line.y)) for line in lines)])
    layers = Axis("layer (0 = embedding)", ticks=tuple(_every(last)))
    axis = Axis(label, is_log=True, low=1.3 * worst, high=0.8)
    return Chart(
        rows=((Panel(layers, axis, lines=lines),),),
        title="Ranks by layer",
        description=f"{label} by layer, first places on top: {', '.join(ranks)}.",
        width_inches=COLUMN_INCHES,
        height_inches=2.3,
        keys=(Key(dict(zip(ranks, INKS, strict=False)), n_columns=3),),
    )


def _every(last: int) -> range:
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100) if last / s <= 10)
    return range(0, last + 1, step)


def word_ranks_figure(lens: WordLens, *, utterance: str | None = None) -> Chart:
    """Ranks of the current and the next word in text, for every spoken word of an utterance.

    Args:
        lens: the word table.
        utterance: which; None for the first.

    Returns:
        A chart: words to the right, layers upwards. Current words are pooled by maximum over their
        positions, next words are read at the last position.

    Raises:
        ValueError: no such utterance.
    """
    names = lens.table["utterance"].unique(maintain_order=True).to_list()
    chosen = names[0] if utterance is None else utterance
    if chosen not in names:
        raise ValueError(f"word_ranks_figure: got utterance={chosen!r}, expected one of {names}.")
    rows = lens.table.filter(utterance=chosen)
    words = dict(rows.select("word_index", "word").iter_rows())
    x, y = named_axis("", list(words.values())), named_axis("layer", range(lens.n_layers + 1))
    keys = ("layer", range(lens.n_layers + 1)), ("word_index", list(words))
    panels = []
    for target, pool in (("current", "max"), ("next", "last")):
        cells = grid(rows, f"rank_{target}_text_{pool}", *keys)
        text = tuple(tuple("" if np.isnan(r) else _short(r) for r in row) for row in cells)
        under = tuple(tuple(f"rank in text: {r:.0f}" for r in row) for row in cells)
        panels.append(Panel(x, y, f"{target} word", heat=HeatMap(-np.log10(cells), text, under)))
    worst = -np.ceil(np.log10(lens.n_text))
    powers = tuple(float(p) for p in np.arange(worst, 1))
    width = 1.0 + max(1.2, _CELL_INCHES * len(words))
    return Chart(
        rows=tuple((panel,) for panel in panels),
        title=f"Ranks of words, {chosen}",
        description=f"Rank in text of the current and of the next word, by word and layer: {chosen}"
        f", {lens.model}.",
        width_inches=max(COLUMN_INCHES, min(width, PAGE_INCHES)),
        height_inches=0.8 + 2 * (0.19 * (lens.n_layers + 1) + 0.25),
        scale=Scale(
            "rank in text", float(worst), 0.0, colours="amount", ticks=powers,
            names=tuple(f"{10**-p:.0f}" for p in powers),
        ),
    )  # fmt: skip


def _short(rank: float) -> str:
    return f"{rank:.0f}" if rank < 1000 else f"{rank / 1000:.0f}k"
