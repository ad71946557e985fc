"""Hugging Face data sets, from the hub or from disk, by the package ``datasets``.

What is not stored as Arrow yet (Parquet, on the hub or in a folder) is converted once, into the
cache of ``datasets`` (``HF_DATASETS_CACHE``), and then mapped into memory: a row is read when it is
asked for, and the rest stays on disk. With ``HF_HUB_OFFLINE=1`` nothing is downloaded.

Sound is left as bytes, and decoded here with all limits, so that torchcodec is not needed. Only a
folder of sound files is converted by ``datasets`` with its help: take the format "folder" there.

No code of a data set is run: ``datasets`` refuses scripts since its version 4, which is the least
that slm-lens takes, and nothing here asks it to trust one.
"""

from collections.abc import Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetsError

from slm_lens.corpus.dataset import ItemKey, ReadOptions, printable
from slm_lens.corpus.items import Holds, Item, TrialItem
from slm_lens.corpus.row_items import RowItems
from slm_lens.corpus.table_columns import TableColumns, kinds_of

_SAVED = ("dataset_dict.json", "state.json")
"""Files by which what ``save_to_disk`` wrote is known: of several splits, and of one."""

_NAMES_AT_ONCE = 1000

_REFUSALS = (DatasetsError, OSError, ValueError, LookupError, RuntimeError, ImportError)
"""What ``datasets`` raises of a name, a folder, a script, a file, a package or a connection."""


class HuggingFaceRows:
    """Rows of one split.

    Sound that is stored by path has to lie in the folder that `path` names; on the hub, data sets
    have it as bytes.

    Args:
        path: hub id (owner/name), a folder in any layout that ``load_dataset`` knows, or one that
            ``save_to_disk`` wrote.
        options: how items are read.
        columns: which columns hold what.
        subset: configuration of the data set; None if there is one.
        split: which split, such as ``"train"``; None if ``save_to_disk`` wrote one alone.
        revision: branch, tag or commit on the hub.

    Raises:
        LookupError: there is no such data set, subset or split, or it lacks a column.
        ValueError: a column of trials holds something else, or an entry has no meaning for what
            the folder holds.
    """

    def __init__(
        self,
        path: str,
        options: ReadOptions,
        columns: TableColumns,
        *,
        subset: str | None = None,
        split: str | None = None,
        revision: str | None = None,
    ) -> None:
        where = f"HuggingFaceRows: {path}"
        folder = Path(path) if Path(path).is_dir() else None
        if folder is not None and any((folder / name).is_file() for name in _SAVED):
            table = _from_disk(folder, subset, split, revision)
        else:
            table = _loaded(path, subset, split, revision)
        columns.require(table.column_names, where)
        table = table.with_format(None).select_columns(columns.names())
        for name, feature in table.features.items():
            if isinstance(feature, datasets.Audio):
                table = table.cast_column(name, datasets.Audio(decode=False))
        self._columns, self._n_rows = columns, len(table)
        # One view for each column, so that a name is read without the sound beside it.
        self._views = {c: table.select_columns([c]) for c in columns.names()}
        schema = table.features.arrow_schema
        kinds = kinds_of(columns, {c: schema.field(c).type for c in columns.segments}, where)
        self._rows = RowItems(columns, kinds, options, folder)
        self.holds: Holds = columns.holds
        self.has_sound, self.has_words = self._rows.has_sound, self._rows.has_words
        self._label = split or str(table.split or "rows")

    def item_keys(self) -> Iterator[ItemKey]:
        """Every row.

        Yields:
            Keys named by the column of names, or by split and row; with a size of 0.
        """
        for number, given in enumerate(self._names()):
            place = f"{self._label}:{number}"
            has_name = isinstance(given, str | int) and str(given).strip()
            yield ItemKey(printable(str(given)) if has_name else place, place, number, 0)

    def words(self, key: ItemKey) -> tuple[str, ...]:
        """Words of one row; of its columns only that of the word times is read.

        Args:
            key: which row.

        Returns:
            The words.
        """
        return self._rows.words(key.place, partial(self._value, key.number))

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> Item | TrialItem:
        """One row.

        Args:
            key: which row.
            sample_rate_hz: rate of the samples.

        Returns:
            The clip or trial.
        """
        return self._rows.read(key.place, partial(self._value, key.number), sample_rate_hz)

    def _names(self) -> Iterator[Any]:
        """What the column of names holds, many rows at a time; None if there is none."""
        column = self._columns.name
        if column is None:
            yield from repeat(None, self._n_rows)
            return
        batch: Any
        for batch in self._views[column].iter(_NAMES_AT_ONCE):
            yield from batch[column]

    def _value(self, number: int, column: str) -> Any:
        return self._views[column][number][column]


def _loaded(
    path: str, subset: str | None, split: str | None, revision: str | None
) -> datasets.Dataset:
    """A split by ``load_dataset``.

    Raises:
        LookupError: there is no such thing.
    """
    if split is None:
        raise LookupError(
            f"HuggingFaceRows: got {path!r} without a split, expected the name of one, such as "
            "'train' or 'test'."
        )
    try:
        return datasets.load_dataset(
            path, subset, split=split, revision=revision, keep_in_memory=False
        )
    except _REFUSALS as error:
        raise LookupError(
            f"HuggingFaceRows: {path!r} (subset {subset!r}, split {split!r}, revision "
            f"{revision!r}) cannot be loaded: {_reason(error)} Expected a hub id, or a folder that "
            "datasets.load_dataset or load_from_disk reads. Without a network, download it first."
        ) from error


def _from_disk(
    folder: Path, subset: str | None, split: str | None, revision: str | None
) -> datasets.Dataset:
    """What ``save_to_disk`` wrote.

    Raises:
        LookupError: there is no such split, or a file is damaged.
        ValueError: an entry has no meaning here.
    """
    if subset is not None or revision is not None:
        raise ValueError(
            f"HuggingFaceRows: got subset={subset!r} and revision={revision!r} for {folder}, which "
            "save_to_disk wrote, expected neither. Leave them out."
        )
    try:
        saved = datasets.load_from_disk(str(folder), keep_in_memory=False)
    except _REFUSALS as error:
        raise LookupError(
            f"HuggingFaceRows: {folder} cannot be loaded: {_reason(error)} Expected what "
            "save_to_disk wrote, whole."
        ) from error
    if isinstance(saved, datasets.DatasetDict):
        if split not in saved:
            raise LookupError(
                f"HuggingFaceRows: got split={split!r} of {folder}, expected one of {list(saved)}."
            )
        return saved[split]
    if split is not None and str(saved.split) != split:
        raise LookupError(
            f"HuggingFaceRows: got split={split!r} of {folder}, which holds the split "
            f"{str(saved.split)!r} alone, expected that one, or none."
        )
    return saved


def _reason(error: BaseException) -> str:
    """What went wrong, and of what: ``datasets`` tells the second in the error's cause."""
    said = [str(error).strip() or type(error).__name__]
    if error.__cause__ is not None:
        said.append(str(error.__cause__).strip() or type(error.__cause__).__name__)
    return "; ".join(s.rstrip(".") for s in said) + "."
