"""The data set that a configuration names."""

from pathlib import Path

from slm_lens.corpus.clip_folder import ClipFolder
from slm_lens.corpus.data_config import DataConfig
from slm_lens.corpus.dataset import Dataset, Limits, ReadOptions
from slm_lens.corpus.hugging_face import HuggingFaceRows
from slm_lens.corpus.jsonl_units import JsonlUnits
from slm_lens.corpus.pair_rows import PairRows
from slm_lens.corpus.parquet_rows import ParquetRows
from slm_lens.corpus.plain_text import PlainText
from slm_lens.corpus.table_columns import TableColumns
from slm_lens.corpus.trial_folder import LAYOUTS, TrialFolder

_OF_TABLES = (
    "name_column", "audio_column", "words_column", "units_column", "durations_column",
    "prompt_column", "right_column", "wrong_column", "part_column", "frame_rate_hz",
)  # fmt: skip
_OWN_ENTRIES = {
    "folder": (),
    "jsonl_units": ("metadata", "frame_rate_hz"),
    "parquet": _OF_TABLES,
    "huggingface": (*_OF_TABLES, "subset", "split", "revision"),
    "text": (),
    "trials": ("layout", "subfolders", "prompt_modality", "completion_modality"),
    "pairs": (),
}
_ALL_OWN = {name for own in _OWN_ENTRIES.values() for name in own}


def open_dataset(config: DataConfig, limits: Limits) -> Dataset:
    """Open the data; no item is read.

    Args:
        config: what the data are.
        limits: how much one item may ask for.

    Returns:
        The data set.

    Raises:
        LookupError: the data are not there, or lack a column.
        ValueError: an entry is given that the format does not have, or one is missing; or a table
            of pairs has other columns.
    """  # noqa: DOC502 (LookupError is raised by the data sets)
    own = _OWN_ENTRIES[config.format]
    foreign = [n for n in sorted(_ALL_OWN - set(own)) if getattr(config, n) is not None]
    if foreign:
        raise ValueError(
            f"open_dataset: got {foreign} for data of format {config.format!r}, expected of these "
            f"only {own}. Leave them out."
        )
    options = ReadOptions(limits, config.overlap, config.missing)
    if config.format == "folder":
        return ClipFolder(config.path, options)
    if config.format == "text":
        return PlainText(config.path, options)
    if config.format == "pairs":
        return PairRows(config.path, options)
    if config.format == "jsonl_units":
        return _lines(config, options)
    if config.format == "trials":
        return _trials(config, options)
    columns = TableColumns(
        name=config.name_column,
        audio=config.audio_column,
        words=config.words_column,
        units=config.units_column,
        durations=config.durations_column,
        prompt=config.prompt_column,
        right=config.right_column,
        wrong=config.wrong_column,
        part=config.part_column,
        frame_rate_hz=config.frame_rate_hz,
    )
    if config.format == "huggingface":
        return HuggingFaceRows(
            config.path,
            options,
            columns,
            subset=config.subset,
            split=config.split,
            revision=config.revision,
        )
    return ParquetRows(config.path, options, columns)


def _lines(config: DataConfig, options: ReadOptions) -> JsonlUnits:
    """Lines of units.

    Raises:
        ValueError: their frame rate is missing.
    """
    if config.frame_rate_hz is None:
        raise ValueError(
            "open_dataset: got units without frame_rate_hz, expected the frames in a second "
            "that `duration` counts. mHuBERT has 25."
        )
    return JsonlUnits(
        Path(config.path),
        options,
        frame_rate_hz=config.frame_rate_hz,
        metadata=config.metadata,
    )


def _trials(config: DataConfig, options: ReadOptions) -> TrialFolder:
    """Folders of trials.

    Raises:
        ValueError: the layout is missing.
    """
    if config.layout is None:
        raise ValueError(
            f"open_dataset: got trials without layout, expected one of {LAYOUTS}. What they are is "
            "in docs/corpus.md."
        )
    return TrialFolder(
        config.path,
        options,
        layout=config.layout,
        subfolders=config.subfolders,
        prompt_modality=config.prompt_modality,
        completion_modality=config.completion_modality,
    )
