"""Lens grids as one Parquet table with the facts beside it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import torch

from slm_lens._atomic import write_atomically
from slm_lens.lens._grid_table import cells_of, grid_frame
from slm_lens.lens.grid_result import Followed, LensGrid
from slm_lens.model._facts import read_facts, write_facts
from slm_lens.sequence.word_span import WordSpan

SCHEMA_VERSION = 1
_STEM = "lens_grids"
_SHARED = ("n_layers", "n_text", "d_vocab", "k", "policy", "lens", "provenance")
_FACTS = ("schema_version", *_SHARED, "utterances")


def write_lens_grids(grids: Sequence[LensGrid], folder: str | Path) -> None:
    """Write ``lens_grids.parquet`` (all cells) and ``lens_grids.json`` (the rest).

    Each file appears in full or not at all.

    Args:
        grids: of one model, read in one way; names of utterances differ.
        folder: made if needed; earlier files are replaced.

    Raises:
        ValueError: no grid, a name twice, or grids that were read differently.
    """
    names = [g.utterance for g in grids]
    differ = [f for f in _SHARED if any(g.__dict__[f] != grids[0].__dict__[f] for g in grids)]
    if not names or len(set(names)) != len(names) or differ:
        raise ValueError(
            f"write_lens_grids: got grids of {names[:5]} that differ in {differ or 'nothing'}, "
            "expected at least one, each of another utterance, all read from one model in the "
            "same way. Write the others to another folder."
        )
    folder = Path(folder)
    table = pl.concat([grid_frame(g) for g in grids])
    facts = {"schema_version": SCHEMA_VERSION, **{f: grids[0].__dict__[f] for f in _SHARED}}
    facts["utterances"] = [_facts_of(g) for g in grids]
    write_atomically(folder / f"{_STEM}.parquet", table.write_parquet)
    write_facts(folder / f"{_STEM}.json", facts)


def read_lens_grids(folder: str | Path) -> tuple[LensGrid, ...]:
    """Read what `write_lens_grids` wrote.

    Args:
        folder: where it was written.

    Returns:
        Equal grids, in order.

    Raises:
        LookupError: the folder holds no grids.
        ValueError: they were written by another version.
    """  # noqa: DOC502 (LookupError is raised by read_facts)
    folder = Path(folder)
    facts = read_facts(folder, _STEM, _FACTS, reader="read_lens_grids")
    if facts["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"read_lens_grids: {folder} has schema version {facts['schema_version']!r}, expected "
            f"{SCHEMA_VERSION}. It was written by another version: read the utterances again."
        )
    table = pl.read_parquet(folder / f"{_STEM}.parquet")
    shared = {name: facts[name] for name in _SHARED}
    rows = table.partition_by("utterance", maintain_order=True, as_dict=True)
    return tuple(_grid(rows[u["utterance"],], u, shared) for u in facts["utterances"])


def _facts_of(grid: LensGrid) -> dict[str, Any]:
    return {
        "utterance": grid.utterance,
        "tokens": grid.tokens.tolist(),
        "kinds": grid.kinds,
        "words": [asdict(w) for w in grid.words],
        "followed": [asdict(f) for f in grid.followed],
        "word_followed": grid.word_followed,
        "labels": {str(t): label for t, label in grid.labels.items()},
        "label_kinds": {str(t): kind for t, kind in grid.label_kinds.items()},
        "units": {str(t): unit for t, unit in grid.units.items()},
    }


def _grid(rows: pl.DataFrame, facts: dict[str, Any], shared: dict[str, Any]) -> LensGrid:
    return LensGrid(
        utterance=facts["utterance"],
        tokens=torch.tensor(facts["tokens"]),
        kinds=tuple(facts["kinds"]),
        words=tuple(WordSpan(**w) for w in facts["words"]),
        followed=tuple(
            Followed(f["label"], tuple(f["tokens"]), f["is_word"]) for f in facts["followed"]
        ),
        word_followed=tuple(facts["word_followed"]),
        cells=cells_of(rows),
        labels={int(t): label for t, label in facts["labels"].items()},
        label_kinds={int(t): kind for t, kind in facts["label_kinds"].items()},
        units={int(t): (stream, unit) for t, (stream, unit) in facts["units"].items()},
        **shared,
    )
