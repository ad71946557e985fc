"""The lens grid as an interactive view: layers by words or positions, ranks of pinned tokens."""

from typing import Any

import numpy as np

from slm_lens.lens.grid_result import Followed, GridCells, LensGrid
from slm_lens.views.page import View

LOG_PROB_SCALE = 100
"""Log-probabilities are sent in hundredths of a nat: a fourth of the bytes, two decimals."""


def lens_grid_view(grid: LensGrid, *, title: str = "Lens grid", link: bool = True) -> View:
    """Layers by words: the highest token of each cell, coloured by what is chosen.

    A click on a cell selects its word and layer in every view of the utterance, and shows the
    cell's highest tokens; each can be pinned. Below, the ranks of the selected word, of the next
    one and of what is pinned, through the layers.

    Args:
        grid: the grid.
        title: heading.
        link: share the selected word with other views of the utterance on a page.

    Returns:
        The view.
    """
    n_rows = {site: cells.n_rows for site, cells in grid.cells.items()}
    rows = " and ".join(
        f"{n_rows[site]} {name}"
        for site, name in (("max", "words"), ("position", "positions"))
        if site in n_rows
    )
    return View(
        kind="lens_grid",
        data=lens_grid_data(grid),
        title=title,
        description=(
            f"What {grid.n_layers + 1} layers say at {rows} of {grid.utterance}, read through the "
            f"{grid.lens}. Layer 0 is the embedding."
        ),
        utterance=grid.utterance if link else None,
        scripts=("cell_grid", "lens_grid_model", "rank_lines"),
    )


def lens_grid_data(grid: LensGrid) -> dict[str, Any]:
    """What the script needs of a grid.

    Args:
        grid: the grid.

    Returns:
        JSON values and arrays.
    """
    return {
        "utterance": grid.utterance,
        "words": [
            {"word": w.word, "modality": w.modality, "start_s": w.start_s, "end_s": w.end_s}
            for w in grid.words
        ],
        "tokens": {str(t): named_token(grid, t) for t in grid.labels},
        "read": grid.tokens.numpy().astype(_smallest(grid.d_vocab)),
        "followed": [_followed(f) for f in grid.followed],
        "word_followed": list(grid.word_followed),
        "next_followed": grid.targets(range(len(grid.words)), 1),
        "n_layers": grid.n_layers,
        "k": grid.k,
        "lens": grid.lens,
        "sizes": {"text": grid.n_text, "full": grid.d_vocab},
        "subsets": list(grid.subsets),
        "log_prob_scale": LOG_PROB_SCALE,
        "sites": {site: _site(grid, cells) for site, cells in grid.cells.items()},
    }


def named_token(grid: LensGrid, token: int) -> dict[str, Any]:
    """A token as scripts write it: units by their number.

    Args:
        grid: the grid that mentions it.
        token: its id.

    Returns:
        Label and kind; stream and number of a unit.
    """
    named: dict[str, Any] = {"label": grid.labels[token], "kind": grid.label_kinds[token]}
    if token in grid.units:
        named["stream"], named["unit"] = grid.units[token]
    return named


def _followed(followed: Followed) -> dict[str, Any]:
    return {
        "label": followed.label,
        "tokens": list(followed.tokens),
        "is_word": followed.is_word,
    }


def _site(grid: LensGrid, cells: GridCells) -> dict[str, Any]:
    ids, ranks = _smallest(grid.d_vocab + 1), _smallest(grid.d_vocab + 1)
    return {
        "spans": cells.spans.tolist(),
        "words": list(cells.words),
        "mass": cells.mass.numpy().astype(np.float32),
        "top_ids": {s: (x.numpy() + 1).astype(ids) for s, x in cells.top_ids.items()},
        "top_log_prob": {s: _hundredths(x.numpy()) for s, x in cells.top_log_prob.items()},
        "rank": {s: x.numpy().astype(ranks) for s, x in cells.rank.items()},
    }


def _smallest(count: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type that numbers below a count fit in."""
    return np.uint8 if count <= 2**8 else np.uint16 if count <= 2**16 else np.uint32


def _hundredths(log_prob: np.ndarray) -> np.ndarray:
    low = np.nan_to_num(log_prob, neginf=-np.inf) * LOG_PROB_SCALE
    return np.clip(np.round(low), -32768, 0).astype(np.int16)
