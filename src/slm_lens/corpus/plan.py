"""The first, cheap pass over a data set: which items there are, and which words are said.

Control words come from the whole data set, so its words are read, without sound, before the first
item. An item whose words cannot be read has none here, and becomes a row of ``errors`` when its
turn comes.
"""

import hashlib
import io
import json
from dataclasses import astuple, dataclass
from functools import cached_property

import polars as pl

from slm_lens.corpus._arrow import read_table
from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, ItemKey
from slm_lens.errors import RunError
from slm_lens.lens.control_words import CorpusWords

_KEY_SCHEMA = {
    "name": pl.String,
    "place": pl.String,
    "number": pl.Int64,
    "size_bytes": pl.Int64,
}
_SCHEMA = {**_KEY_SCHEMA, "words": pl.List(pl.String)}


@dataclass(frozen=True, eq=False)
class RunPlan:
    """The items of a run, in order; eight bytes for a word, and a line for an item.

    Attributes:
        items: name, place, number and size of each item.
        words: all words.
        fingerprint: hash of all keys.
    """

    items: pl.DataFrame
    words: CorpusWords
    fingerprint: str

    def key(self, position: int) -> ItemKey:
        """The key of one item.

        Args:
            position: which item, from 0.

        Returns:
            The key.
        """
        return ItemKey(*self.items.row(position))

    def is_repeated(self, position: int) -> bool:
        """Whether an earlier item has the same name.

        Args:
            position: which item.

        Returns:
            True from the second item of a name on.
        """
        return bool(self._repeated[position])

    @cached_property
    def _repeated(self) -> pl.Series:
        return ~self.items["name"].is_first_distinct()


def fingerprint_of(data: Dataset) -> str:
    """Hash of all keys, for telling whether the data are still the same.

    Args:
        data: the data set.

    Returns:
        A hexadecimal hash.
    """
    digest = hashlib.sha256()
    for key in data.item_keys():
        digest.update(json.dumps(astuple(key)).encode())
    return digest.hexdigest()


def scan(data: Dataset, *, with_words: bool) -> bytes:
    """Read keys of all items, and their words if the run needs them.

    Args:
        data: the data set.
        with_words: whether to read words.

    Returns:
        The plan as a Parquet file, the same for the same data.

    Raises:
        RunError: there is no item.
    """
    rows = []
    for key in data.item_keys():
        try:
            words = list(data.words(key)) if with_words else None
        except ITEM_ERRORS:
            words = None
        rows.append((*astuple(key), words))
    if not rows:
        raise RunError("run_corpus: the data have no item, expected at least one.")
    content = io.BytesIO()
    pl.DataFrame(rows, schema=_SCHEMA, orient="row").write_parquet(content)
    return content.getvalue()


def read_plan(content: bytes, place: str) -> RunPlan:
    """A plan that was written before.

    Args:
        content: the file.
        place: where it is, for messages.

    Returns:
        The plan.

    Raises:
        RunError: the file is damaged.
    """
    try:
        table = read_table(content)
    except ValueError as error:
        raise RunError(
            f"run_corpus: {place} cannot be read ({error}), expected the plan of a run. Start "
            "again in a new folder."
        ) from None
    if dict(table.schema) != _SCHEMA:
        raise RunError(
            f"run_corpus: {place} has the columns {dict(table.schema)}, expected {_SCHEMA}. It is "
            "of another version: start again in a new folder."
        )
    items = table.select(_KEY_SCHEMA.keys())
    said = table["words"].list
    if any(items.null_count().row(0)) or (said.len() != said.drop_nulls().list.len()).any():
        raise RunError(
            f"run_corpus: {place} lacks a value, expected a key for each item. Start again in "
            "a new folder."
        )
    digest = hashlib.sha256()
    for row in items.iter_rows():
        digest.update(json.dumps(row).encode())
    words = CorpusWords.of((name, said or ()) for name, said in table[["name", "words"]].rows())
    return RunPlan(items, words, digest.hexdigest())
