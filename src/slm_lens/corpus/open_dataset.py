"""The data set that a configuration names."""

from pathlib import Path

from slm_lens.corpus.clip_folder import ClipFolder
from slm_lens.corpus.dataset import Dataset, Limits, ReadOptions
from slm_lens.corpus.jsonl_units import JsonlUnits
from slm_lens.corpus.pair_rows import PairRows
from slm_lens.corpus.parquet_rows import ParquetColumns, ParquetRows
from slm_lens.corpus.plain_text import PlainText
from slm_lens.corpus.run_config import DataConfig

_OWN_ENTRIES = {
    "folder": (),
    "jsonl_units": ("metadata", "frame_rate_hz"),
    "parquet": (
        "name_column", "audio_column", "words_column", "units_column", "durations_column",
        "frame_rate_hz",
    ),
    "text": (),
    "pairs": (),
}  # fmt: skip
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
    foreign = [n for n in sorted(_ALL_OWN - set(_OWN_ENTRIES[config.format])) if getattr(config, n)]
    if foreign:
        raise ValueError(
            f"open_dataset: got {foreign} for data of format {config.format!r}, expected of these "
            f"only {_OWN_ENTRIES[config.format]}. Leave them out."
        )
    options = ReadOptions(limits, config.overlap, config.missing)
    if config.format == "folder":
        return ClipFolder(config.path, options)
    if config.format == "text":
        return PlainText(config.path, options)
    if config.format == "pairs":
        return PairRows(config.path, options)
    if config.format == "jsonl_units":
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
    columns = ParquetColumns(
        name=config.name_column,
        audio=config.audio_column,
        words=config.words_column,
        units=config.units_column,
        durations=config.durations_column,
        frame_rate_hz=config.frame_rate_hz,
    )
    return ParquetRows(config.path, options, columns)
