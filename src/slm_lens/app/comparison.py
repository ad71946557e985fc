"""One clip read by two models: where each has the spoken and the next word, and both lens grids."""

from collections.abc import Iterator, Mapping

from slm_lens.app.cards import framed, words_table
from slm_lens.app.hearing import Heard
from slm_lens.lens.grid_result import LensGrid
from slm_lens.model.hooked import HookedSLM
from slm_lens.studies.exploration import Exploration
from slm_lens.studies.explore import explore
from slm_lens.views.lens_grid import lens_grid_view
from slm_lens.views.page import Page

_SITE, _SUBSET = "max", "text"


def compared(models: Mapping[str, HookedSLM], heard: Heard) -> Iterator[str]:
    """Both models' readings, one after the other.

    Args:
        models: by name.
        heard: the clip.

    Yields:
        HTML with what is known so far: the ranks of the words side by side, then each model's page.
    """
    found: dict[str, Exploration] = {}
    for name, model in models.items():
        clip = heard.at(model.unit_tokenizer.sample_rate_hz)
        found[name] = explore(
            model,
            clip.waveform,
            alignment=clip.alignment,
            name=clip.name,
            attention=None,
            attribute=None,
        )
        yield _page(found)


def best_ranks(grid: LensGrid, offset: int) -> list[tuple[int, int] | None]:
    """For each word, the best rank that a layer gives it in text, and the first such layer.

    Args:
        grid: of an utterance.
        offset: 0 for the word itself, 1 for the one behind it.

    Returns:
        Rank, from 1, and layer; None where there is nothing to rank, as behind the last word.
    """
    cells = grid.cells.get(_SITE)
    if cells is None or _SUBSET not in cells.rank:
        return [None] * len(grid.words)
    best: list[tuple[int, int] | None] = [None] * len(grid.words)
    for row, (word, target) in enumerate(
        zip(cells.words, grid.targets(cells.words, offset), strict=True)
    ):
        if word is None or target is None:
            continue
        ranks = cells.rank[_SUBSET][:, row, target].tolist()
        known = [(rank, layer) for layer, rank in enumerate(ranks) if rank > 0]
        best[word] = min(known) if known else None
    return best


def _page(found: Mapping[str, Exploration]) -> str:
    """The table, and below it all grids on one page: a word selected in one is selected in all."""
    names = list(found)
    columns = ["word", *(f"{n}: {what}" for n in names for what in ("this word", "next word"))]
    ranks = [best_ranks(found[n].grid, offset) for n in names for offset in (0, 1)]
    rows = [
        [word.word, *(_place(rank[i]) for rank in ranks)]
        for i, word in enumerate(found[names[0]].words)
    ]
    table = words_table("Best rank in text, and the layer where it is", columns, rows)
    title = f"{found[names[0]].name}, read by {' and '.join(names)}"
    page = Page([lens_grid_view(found[n].grid, title=f"Lens grid of {n}") for n in names],
                title=title)  # fmt: skip
    return (table if rows else "") + framed(page)


def _place(rank: tuple[int, int] | None) -> str:
    return "-" if rank is None else f"{rank[0]} at {rank[1]}"
