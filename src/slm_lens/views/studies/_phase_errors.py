"""Classes of errors by layer, and the grid of one clip."""

import numpy as np
import polars as pl

from slm_lens.lens.word_errors import ERROR_CLASSES
from slm_lens.views._table import cell_grid, named_axis, numbers
from slm_lens.views.chart import PAGE_INCHES, Chart, Key, Scale
from slm_lens.views.lens_grid_figure import shown
from slm_lens.views.panel import Axis, HeatMap, Line, Panel, layer_axis
from slm_lens.views.style import Ink

_COLOURS = dict(
    zip(ERROR_CLASSES, ("current", "next", "sky", "purple", "green", "empty"), strict=True)
)
_N_ACROSS, _CELL_INCHES, _LETTER_INCHES = 11, 0.17, 0.046
_MOST_GRIDS = 4
_THINNEST = 0.005


def errors_chart(errors: pl.DataFrame, names: list[str]) -> Chart:
    """Shares of the classes by layer, stacked, beside those of permuted words.

    Args:
        errors: the table of that name.
        names: models, from above.

    Returns:
        A chart with a row for each model.
    """
    share, rows = Axis("share of words", low=0.0, high=1.0, ticks=(0.0, 0.5, 1.0)), []
    for name in names:
        here = errors.filter(pl.col("model") == name)
        layers = layer_axis(int(here["layer"].to_numpy().max()))
        titles = (f"{name}: the words (n = {here['n_words'][0]})", "permuted words")
        for_each = zip(("share", "control"), titles, strict=True)
        rows.append(tuple(_stack(here, column, t, layers, share) for column, t in for_each))
    return Chart(
        rows=tuple(rows),
        title="What the top text token is",
        description="The class of the top text token of every spoken word, as shares by layer that "
        "add up to 1; on the right, the mean over permutations of the words: what each class is "
        f"met by chance. Models: {', '.join(names)}.",
        width_inches=PAGE_INCHES,
        height_inches=0.55 + 1.75 * len(names),
        keys=(Key({c: Ink(_COLOURS[c], marker="square") for c in ERROR_CLASSES}, n_columns=6),),
    )


def _stack(table: pl.DataFrame, column: str, title: str, layers: Axis, share: Axis) -> Panel:
    lines, below = [], np.zeros(table["layer"].n_unique())
    for name in ERROR_CLASSES:
        rows = table.filter(pl.col("class") == name).sort("layer")
        part, x = numbers(rows[column]), numbers(rows["layer"])
        above = np.minimum(below + part, 1.0)
        details = tuple(f"{name}: {p:.3f}" for p in part)
        ink = Ink(_COLOURS[name], weight="thin")
        edge = np.where(part > _THINNEST, above, np.nan)  # no edge that hides another one
        lines.append(Line(name, x, edge, ink, below, above, 0.75, details=details))
        below = above
    return Panel(layers, share, title, lines=tuple(lines))


def example_chart(grid: pl.DataFrame, names: list[str]) -> Chart:
    """The first words of the example, with the class of each token as a frame.

    Args:
        grid: the table of that name.
        names: models; the first four are drawn.

    Returns:
        A chart with a row for each model.
    """
    drawn, panels = names[:_MOST_GRIDS], []
    for name in drawn:
        here = grid.filter(pl.col("model") == name)
        words = here["word_index"].unique().sort().to_list()[:_N_ACROSS]
        panels.append(_grid_panel(here.filter(pl.col("word_index").is_in(words)), words, name))
    n_layers = [panel.heat.cells.shape[0] for panel in panels if panel.heat is not None]
    left_out = f" Not drawn: {', '.join(names[_MOST_GRIDS:])}." if len(names) > len(drawn) else ""
    return Chart(
        rows=tuple((panel,) for panel in panels),
        title=f"Lens grid of {grid['utterance'][0]}",
        description=f"The top text token of every layer at the first words of the clip "
        f"{grid['utterance'][0]}, coloured by its probability among text tokens; frames are "
        f"classes of errors, no frame is other. Models: {', '.join(drawn)}.{left_out}",
        width_inches=PAGE_INCHES,
        height_inches=0.5 + sum(_CELL_INCHES * n + 0.6 for n in n_layers),
        keys=(Key({c: Ink(_COLOURS[c]) for c in ERROR_CLASSES if c != "other"}, n_columns=5),),
        scale=Scale("probability among text tokens", 0.0, 1.0, colours="quiet"),
        row_heights=tuple(float(n) for n in n_layers),
    )


def _grid_panel(rows: pl.DataFrame, words: list[int], title: str) -> Panel:
    n_layers = int(rows["layer"].to_numpy().max()) + 1
    letters = int(PAGE_INCHES / (len(words) + 2) / _LETTER_INCHES)
    text = [[""] * len(words) for _ in range(n_layers)]
    details, frames = [list(row) for row in text], []
    for row in rows.iter_rows(named=True):
        layer, column, token = row["layer"], words.index(row["word_index"]), shown(row["token"])
        text[layer][column] = token if len(token) <= letters else f"{token[: letters - 1]}…"
        details[layer][column] = (
            f"token: {token}\nclass: {row['class']}\nprobability: {row['probability']:.4g}"
        )
        if row["class"] != "other":
            frames.append((layer, column, _COLOURS[row["class"]]))
    cells = cell_grid(rows, "probability", ("layer", range(n_layers)), ("word_index", words))
    heat = HeatMap(cells, tuple(map(tuple, text)), tuple(map(tuple, details)), tuple(frames))
    spelled = dict(rows.select("word_index", "word").iter_rows())
    return Panel(
        named_axis("word", [spelled[w] for w in words]),
        named_axis("layer", range(n_layers), most=12),
        title,
        heat=heat,
    )
