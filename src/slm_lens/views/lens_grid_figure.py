"""The lens grid for print: what every layer says at every word.

Words to the right, layers upwards; in each cell the likeliest token, coloured by its probability. A
frame marks where the word itself, or the word that follows, is the likeliest of all.
"""

from dataclasses import replace

import polars as pl

from slm_lens.views._table import check_columns, grid, named_axis
from slm_lens.views.chart import PAGE_INCHES, Chart, Key, Scale
from slm_lens.views.panel import Axis, HeatMap, Panel
from slm_lens.views.style import Ink

_COLUMNS = ("word_index", "word", "layer", "token", "probability", "rank_current", "rank_next")
_CELL_INCHES, _LETTERS = 0.19, 0.048  # height of a cell; width of a letter in one
_KEY = {"current word first": Ink("current"), "next word first": Ink("next")}


def lens_grid_figure(
    table: pl.DataFrame, *, words: range | None = None, n_across: int = 10, title: str = "Lens grid"
) -> Chart:
    """Words by layers, with the likeliest token in each cell.

    Args:
        table: one row for each word and layer: ``word_index``, ``word``, ``layer``, ``token`` (the
            likeliest), its ``probability``, and the ranks of the word and of the next one from 1,
            ``rank_current`` and ``rank_next``, null where there is none.
        words: word indices to draw; None for all.
        n_across: words side by side; more go on below.
        title: what it is of, for pages.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: a column is missing, no word is left, a word has two rows for a layer, or
            `n_across` is less than 1.
    """
    check_columns({"table": table}, _COLUMNS, "lens_grid_figure")
    rows = table if words is None else table.filter(pl.col("word_index").is_in(list(words)))
    if rows.is_empty() or n_across < 1 or rows.select("word_index", "layer").is_duplicated().any():
        raise ValueError(
            f"lens_grid_figure: got {len(rows)} rows for words={words} and n_across={n_across}, "
            "expected one row for each word and layer, at least one word, and n_across >= 1."
        )
    indices = rows["word_index"].unique().sort().to_list()
    n_layers = int(rows["layer"].to_numpy().max()) + 1
    layers = named_axis("layer", range(n_layers))
    n_across = min(n_across, len(indices))
    parts = [indices[i : i + n_across] for i in range(0, len(indices), n_across)]
    letters = int(PAGE_INCHES / (n_across + 1.5) / _LETTERS)
    panels = [_panel(rows, part, n_across, n_layers, letters) for part in parts]
    return Chart(
        rows=tuple((Panel(x, layers, heat=heat),) for x, heat in panels),
        title=title,
        description="The likeliest token of every layer at every word, coloured by its "
        "probability; frames mark where the word itself or the next one is the likeliest.",
        width_inches=PAGE_INCHES,
        height_inches=0.3 + (_CELL_INCHES * n_layers + 0.45) * len(parts),
        keys=(Key(_KEY),),
        scale=Scale("probability of the token", 0.0, 1.0, colours="quiet"),
    )


def _panel(
    rows: pl.DataFrame, part: list[int], n_across: int, n_layers: int, letters: int
) -> tuple[Axis, HeatMap]:
    here = rows.filter(pl.col("word_index").is_in(part))
    names = dict(here.select("word_index", "word").iter_rows())
    text = [[""] * len(part) for _ in range(n_layers)]
    details, frames = [list(row) for row in text], []
    for row in here.iter_rows(named=True):
        layer, column, token = row["layer"], part.index(row["word_index"]), shown(row["token"])
        text[layer][column] = token if len(token) <= letters else f"{token[: letters - 1]}…"
        details[layer][column] = "\n".join(
            [f"token: {token}", f"probability: {row['probability']:.4g}"]
            + [f"rank of the {w} word: {row[f'rank_{w}']}" for w in ("current", "next")]
        )
        frames += [(layer, column, w) for w in ("next", "current") if row[f"rank_{w}"] == 1]
    cells = grid(here, "probability", ("layer", range(n_layers)), ("word_index", part))
    words = tuple(map(tuple, text)), tuple(map(tuple, details))
    axis = named_axis("", [names[word] for word in part])
    return replace(axis, high=n_across - 0.5), HeatMap(cells, *words, tuple(frames))


def shown(token: str) -> str:
    """A token as it may stand in a picture: line breaks and their kin as escapes.

    Args:
        token: as the tokenizer writes it.

    Returns:
        The same, printable.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)
