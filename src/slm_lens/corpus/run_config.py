"""What a run is to do, from a YAML file or from flags.

```yaml
kind: phases
model: {name: organism}
data: {format: folder, path: held-out}
out: runs/corpus
```
"""

import difflib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from slm_lens._yaml import read_yaml
from slm_lens.corpus.dataset import Limits
from slm_lens.lens.states import Forward
from slm_lens.speech.alignment_files import Missing, Overlap
from slm_lens.vocab import WordPolicy

Kind = Literal["phases"]
DataFormat = Literal["folder", "jsonl_units", "parquet", "text"]
Dtype = Literal["float32", "bfloat16", "float16", "stored"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model, as `slm_lens.load` takes it.

    Attributes:
        name: embedded model, folder or hub id.
        text_tokenizer: folder or hub id of the text tokenizer.
        vocab_spec: YAML description of the vocabulary.
        family: name of the family.
        adapter: folder or hub id of an adapter.
        unit_tokenizer: folder of the unit tokenizer.
        revision: branch, tag or commit on the hub.
        dtype: dtype of the weights; "stored" keeps the one on disk.
        device: where to put the model.
    """

    name: str
    text_tokenizer: str | None = None
    vocab_spec: str | None = None
    family: str | None = None
    adapter: str | None = None
    unit_tokenizer: str | None = None
    revision: str | None = None
    dtype: Dtype = "float32"
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data; further entries depend on the format.

    Attributes:
        format: "folder" of sound beside word times; "jsonl_units" (slamkit's features, and other
            units that were extracted before); "parquet", which Hugging Face data sets are stored
            in; "text".
        path: the file or folder.
        metadata: of "jsonl_units": where the words are.
        frame_rate_hz: of units: frames in a second.
        name_column, audio_column, words_column, units_column, durations_column: of "parquet": see
            `ParquetColumns`.
        overlap: what to do with words that overlap in time; see `read_alignment`.
        missing: what to do with words without times; see `read_alignment`.
    """

    format: DataFormat
    path: str
    metadata: str | None = None
    frame_rate_hz: float | None = None
    name_column: str | None = None
    audio_column: str | None = None
    words_column: str | None = None
    units_column: str | None = None
    durations_column: str | None = None
    overlap: Overlap = "refuse"
    missing: Missing = "refuse"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run over a data set.

    Attributes:
        model: what is run.
        data: over what.
        out: folder of the run.
        kind: what is measured. "phases" fills the word table of `slm_lens.word_lens`.
        policy: which tokens count as a word; None for the model's own.
        n_draws: control words for each word and kind of control.
        seed: seed of the draws.
        forward: which forward pass gives the states; see `residual_stack`.
        lens: folder of a tuned lens to read through.
        items_per_shard: items whose rows are in one file, and are done again after an interruption.
        tokens_per_batch: tokens in one forward pass, padding included; one item that is longer
            runs alone. Changes numbers by rounding only.
        limits: how much one item may ask for.
        n_workers: threads that read sound and extract units while the model runs.
        strict: stop at the first item that cannot be read.

    Raises:
        ValueError: a number is out of range.
    """

    model: ModelConfig
    data: DataConfig
    out: str
    kind: Kind = "phases"
    policy: WordPolicy | None = None
    n_draws: int = 20
    seed: int = 0
    forward: Forward = "auto"
    lens: str | None = None
    items_per_shard: int = 256
    tokens_per_batch: int = 4096
    limits: Limits = field(default_factory=Limits)
    n_workers: int = 2
    strict: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("items_per_shard", 1), ("tokens_per_batch", 1), ("n_workers", 1), ("n_draws", 0),
            ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(
                    f"RunConfig: got {name}={getattr(self, name)}, expected at least {least}."
                )

    def what_rows_depend_on(self) -> dict[str, Any]:
        """Everything but where the rows are put, and by how many threads.

        Returns:
            Plain values.
        """
        return {k: v for k, v in asdict(self).items() if k not in ("out", "n_workers", "strict")}


def read_run_config(path: str | Path, changes: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a YAML file.

    Args:
        path: the file.
        changes: entries that take the place of the file's; those of ``model``, ``data`` and
            ``limits`` one by one.

    Returns:
        What it says.

    Raises:
        LookupError: there is no such file.
        ValueError: it is no YAML, has an entry that is unknown or stands twice, lacks one, or one
            has the wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise LookupError(f"read_run_config: no file at {str(path)!r}, expected a YAML file.")
    try:
        entries = read_yaml(path)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"read_run_config: {path} cannot be used: {error}. See docs/corpus.md."
        ) from None
    return run_config(entries, changes, where=f"read_run_config: {path}")


def run_config(
    entries: object, changes: Mapping[str, Any] | None = None, *, where: str = "run_config"
) -> RunConfig:
    """A configuration from plain values.

    Args:
        entries: as YAML has them.
        changes: as in `read_run_config`.
        where: what messages begin with.

    Returns:
        The configuration.

    Raises:
        ValueError: as in `read_run_config`.
    """
    if not isinstance(entries, dict):
        raise ValueError(
            f"{where}: got a {type(entries).__name__}, expected entries such as `kind: phases`."
        )
    entries = dict(entries)
    for name, value in (changes or {}).items():
        inner = entries.get(name)
        if isinstance(value, Mapping) and (inner is None or isinstance(inner, dict)):
            entries[name] = {**(inner or {}), **value}
        else:
            entries[name] = value
    return _made(RunConfig, entries, where, "")


def _made(kind: Any, entries: object, where: str, at: str) -> Any:
    """An instance of a configuration class.

    Raises:
        ValueError: an entry is unknown, absent, or of the wrong type.
    """
    if not isinstance(entries, dict):
        raise ValueError(f"{where}: {at or 'it'} holds {_shown(entries)}, expected entries.")
    known = {f.name: f for f in fields(kind)}
    unknown = [str(n)[:60] for n in entries if n not in known]
    needed = (MISSING, MISSING)
    lacking = [
        n for n, f in known.items() if (f.default, f.default_factory) == needed and n not in entries
    ]
    if unknown or lacking:
        near = [m for n in unknown[:8] for m in difflib.get_close_matches(n, known, 1)]
        raise ValueError(
            f"{where}: {at or 'the file'} has the unknown entries {unknown[:8]} and lacks "
            f"{lacking}, expected entries of {list(known)}."
            + (f" Is {near} meant?" if near else "")
        )
    values = {}
    for name, value in entries.items():
        place = f"{at}.{name}" if at else str(name)
        if hasattr(known[name].type, "__dataclass_fields__"):
            values[name] = _made(known[name].type, value, where, place)
        else:
            values[name] = _fitting(value, known[name].type, where, place)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _fitting(value: object, wanted: Any, where: str, place: str) -> Any:
    """A value of the wanted type; whole numbers do as fractions.

    Raises:
        ValueError: it is of another type, or none of the values that the entry may have.
    """
    options = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    for option in options:
        if get_origin(option) is Literal:
            if isinstance(value, str) and value in get_args(option):
                return value
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            if isinstance(value, float) or abs(value) <= sys.float_info.max:
                return float(value)
        elif isinstance(value, option) and (option is bool or not isinstance(value, bool)):
            return value
    names = [_named(o) for o in options]
    raise ValueError(
        f"{where}: {place} is {_shown(value)}, expected {' or '.join(names)}. Quote a text that "
        "YAML takes for a number."
    )


def _named(option: Any) -> str:
    if get_origin(option) is Literal:
        return f"one of {get_args(option)}"
    return "nothing" if option is NoneType else option.__name__


def _shown(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str | float | bool) else type(value).__name__
