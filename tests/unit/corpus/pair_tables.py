"""A table of written pairs for the tiny model, and runs over it."""

from pathlib import Path
from typing import Any

import polars as pl

COLUMNS = (
    "name", "clean", "corrupted", "clean_modality", "corrupted_modality", "answer", "foil",
    "continue_in",
)  # fmt: skip


def row(name: str, clean: str, corrupted: str, answer: str, foil: Any, to: Any = None) -> dict:
    values = (name, clean, corrupted, "text", "text", answer, foil, to)
    return dict(zip(COLUMNS, values, strict=True))


# The model's likeliest next tokens are " lives" and "<Un11>" after the first two clean runs.
# "letters" has the clean run, subject and answer of "long", and a longer corrupted run.
ROWS = [
    row("lives", "the desert is", "the savanna is", "lives", "striped"),
    row("unit", "the lion is", "the zebra is", "<Un11>", "<Un3>"),
    row("long", "the zebra lives in the", "the lion lives in the", "desert", "savanna"),
    row("letters", "the zebra lives in the", "the zaba lives in the", "desert", "savanna"),
    row("to speech", "the zebra is", "the lion is", "<Un7> <Un2>", "<Un9>", "speech"),
    row("striped", "the zebra is striped", "the lion is striped", "lion", "zebra"),
]


def write_table(path: Path, rows: list[dict]) -> Path:
    pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String)).write_csv(path)
    return path


def entries_of(table: Path, out: Path, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "model": {"name": "tiny"},
        "data": {"format": "pairs", "path": str(table)},
        "out": str(out),
        "kind": kind,
    } | changes


def same(a: Any, b: Any) -> bool:
    """Whether two results have the same rows and facts."""
    values = ((v, b.__dict__[k]) for k, v in a.__dict__.items())
    return all(v.equals(w) if isinstance(v, pl.DataFrame) else v == w for v, w in values)
