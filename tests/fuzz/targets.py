"""What reads files of other people, and what may come of it: a value, or an error that it names.

Both `test_fuzz` and `fuzz` use this table. A target's ``read`` gives whether anything was accepted.
"""

import atexit
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import seeds
from mutations import MOST_BYTES

from slm_lens.corpus.clip_folder import ClipFolder
from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, Limits, ReadOptions
from slm_lens.corpus.jsonl_units import JsonlUnits
from slm_lens.corpus.open_run import open_run
from slm_lens.corpus.pair_rows import PairRows
from slm_lens.corpus.parquet_rows import ParquetRows
from slm_lens.corpus.plain_text import PlainText
from slm_lens.corpus.plan import read_plan, scan
from slm_lens.corpus.run_config import read_run_config
from slm_lens.corpus.table_columns import TableColumns
from slm_lens.errors import AlignmentError, AudioError, RunError
from slm_lens.families.vocab_spec import read_vocab_spec
from slm_lens.speech.alignment_files import AlignmentFormat, read_alignment
from slm_lens.speech.audio import decode_audio, read_audio

OPTIONS = ReadOptions(
    Limits(
        max_clip_s=30.0, max_clip_bytes=MOST_BYTES, max_row_bytes=MOST_BYTES // 2, max_words=1000
    ),
    overlap="trim",
    missing="interpolate",
)
MOST_ITEMS = 50

Errors = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: gives the reader these bytes; True if it took them, or a part.
        seeds: documents that it takes.
        errors: what may escape.
        says: what every message begins with, so that no error of a library passes for ours; None
            where the contract is of classes alone.
    """

    read: Callable[[bytes], bool]
    seeds: tuple[bytes, ...]
    errors: Errors
    says: str | None = None


def attempt(target: Target, content: bytes) -> bool:
    """Whether a reader takes the bytes; raises what may not escape it."""
    try:
        return target.read(content)
    except target.errors as error:
        if target.says is not None and not str(error).startswith(target.says):
            raise AssertionError(f"not in our words: {error!r}") from error
        return False


def _folder() -> Path:
    """A folder in memory, if there is one, that is removed in the end."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="slm-lens-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


FOLDER = _folder()


def _file(name: str, content: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _alignment(ending: str, format: AlignmentFormat | None) -> Callable[[bytes], bool]:
    def read(content: bytes) -> bool:
        path = _file(f"a.{ending}", content)
        return len(read_alignment(path, format=format, overlap="trim", missing="interpolate")) > 0

    return read


def _takes(reader: Callable[[Path], Any], name: str) -> Callable[[bytes], bool]:
    """A reader of one file."""

    def read(content: bytes) -> bool:
        reader(_file(name, content))
        return True

    return read


def _any_item(data: Dataset) -> bool:
    """Whether an item can be read; only `ITEM_ERRORS` may be raised, and no other by the keys."""
    taken = False
    for key in islice(data.item_keys(), MOST_ITEMS):
        json.dumps(key.name + key.place, ensure_ascii=False).encode()
        for part in (data.words, lambda k: data.read(k, sample_rate_hz=8000)):
            try:
                part(key)
                taken = True
            except ITEM_ERRORS:
                continue
    return taken


def _jsonl_units(content: bytes) -> bool:
    path = _file("units/units.jsonl", content)
    return _any_item(JsonlUnits(path, OPTIONS, frame_rate_hz=25.0))


def _metadata(content: bytes) -> bool:
    units = _file(
        "described/units.jsonl", b'{"units": [1, 2], "duration": [9, 14], "file_name": "a"}'
    )
    path = _file("described/metadata.jsonl", content)
    data = JsonlUnits(units, OPTIONS, frame_rate_hz=25.0, metadata=path)
    (key,) = data.item_keys()
    try:
        return data.read(key, sample_rate_hz=None).units is not None
    except ITEM_ERRORS:
        return False


def _clip_folder(content: bytes) -> bool:
    """Sound and words in one: what follows the last zero byte are the words."""
    sound, _, words = content.rpartition(b"\0WORDS")
    _file("clips/a.wav", sound)
    _file("clips/a.json", words)
    return _any_item(ClipFolder(FOLDER / "clips", OPTIONS))


def _parquet(content: bytes) -> bool:
    path = _file("rows/rows.parquet", content)
    sound = TableColumns(name="name", audio="audio", words="words")
    units = TableColumns(words="words", units="units", durations="durations", frame_rate_hz=25.0)
    return any([_any_item(ParquetRows(path, OPTIONS, columns)) for columns in (sound, units)])


def _parquet_values(content: bytes) -> bool:
    """Parquet that is whole, of values that are not. Writing it takes gigabytes if it is deep."""
    if content.count(b'{"a":') > 50:
        return False
    try:
        rows = json.loads(content)
        table = seeds.parquet([dict(row) for row in rows])
    except (ValueError, TypeError, RecursionError, OverflowError, pa.ArrowException):
        return False
    return _parquet(table)


def _pairs(name: str) -> Callable[[bytes], bool]:
    """A table of pairs, and its rows."""

    def read(content: bytes) -> bool:
        data = PairRows(_file(f"pairs/{name}", content), OPTIONS)
        _any_item(data)
        return True

    return read


def _plan(content: bytes) -> bool:
    return len(read_plan(content, "plan.parquet").items) > 0


def _run(content: bytes) -> bool:
    _file("run/manifest.json", content)
    run = open_run(FOLDER / "run")
    return bool(run.summary()) and run.is_complete in (True, False)


def _sound_file(content: bytes) -> bool:
    return read_audio(_file("a.sound", content), sample_rate_hz=8000).numel() > 0


def _sound_bytes(content: bytes) -> bool:
    return decode_audio(content, name="a", sample_rate_hz=8000, max_duration_s=10.0).numel() > 0


def _plan_seeds() -> tuple[bytes, ...]:
    path = _file("seed.txt", seeds.TEXT[0])
    rows = [("a", "a.flac", 0, 9, ["the", "cat"]), ("b", "b.flac", 1, 9, None)]
    schema = {"name": pl.String, "place": pl.String, "number": pl.Int64, "size_bytes": pl.Int64}
    table = io.BytesIO()
    pl.DataFrame(rows, schema=schema | {"words": pl.List(pl.String)}, orient="row").write_parquet(
        table, compression="uncompressed"
    )
    return scan(PlainText(path, OPTIONS), with_words=True), table.getvalue()


_ALIGNED: Errors = (AlignmentError,)
_OPENED: Errors = (LookupError, ValueError)
_SOUNDS = (*seeds.WAV, *seeds.FLAC, *seeds.OGG)
_CLIPS = tuple(sound + b"\0WORDS" + seeds.METADATA[0].replace(b"0.9", b"0.09").replace(
    b"0.5", b"0.05") for sound in (*seeds.WAV, *seeds.FLAC))  # fmt: skip

_READ = "read_alignment: "
TARGETS: dict[str, Target] = {
    "textgrid": Target(_alignment("a", "textgrid"), seeds.TEXTGRIDS, _ALIGNED, _READ),
    "mfa_json": Target(_alignment("a", "mfa_json"), seeds.MFA_JSON, _ALIGNED, _READ),
    "whisperx": Target(_alignment("a", "whisperx"), seeds.WHISPERX, _ALIGNED, _READ),
    "ctm": Target(_alignment("a", "ctm"), seeds.CTM, _ALIGNED, _READ),
    "slamkit": Target(_alignment("a", "slamkit"), seeds.SLAMKIT, _ALIGNED, _READ),
    "any_json": Target(_alignment("json", None), seeds.ANY_JSON, (ValueError,), _READ),
    "run_config": Target(
        _takes(read_run_config, "run.yaml"), seeds.RUN_CONFIGS, (ValueError,), "read_run_config: "
    ),
    "vocab_spec": Target(
        _takes(read_vocab_spec, "slm_lens.yaml"), seeds.VOCAB_SPECS, (ValueError,),
        "read_vocab_spec: ",
    ),
    "manifest": Target(_run, seeds.MANIFEST, (RunError,), "open_run: "),
    "plan": Target(_plan, _plan_seeds(), (RunError,), "run_corpus: "),
    "text": Target(
        lambda content: _any_item(PlainText(_file("a.txt", content), OPTIONS)), seeds.TEXT, ()
    ),
    "jsonl_units": Target(_jsonl_units, seeds.UNITS, ()),
    "metadata": Target(_metadata, seeds.METADATA, ()),
    "clip_folder": Target(_clip_folder, _CLIPS, ()),
    "parquet": Target(_parquet, seeds.PARQUET, _OPENED, "ParquetRows: "),
    "parquet_values": Target(_parquet_values, seeds.ROW_VALUES, _OPENED, "ParquetRows: "),
    "pairs_csv": Target(
        _pairs("pairs.csv"), seeds.PAIRS_CSV, (ValueError,), "PairRows: "
    ),
    "pairs_jsonl": Target(
        _pairs("pairs.jsonl"), seeds.PAIRS_JSONL, (ValueError,), "PairRows: "
    ),
    "pairs_parquet": Target(
        _pairs("pairs.parquet"), seeds.PAIRS_PARQUET, (ValueError,), "PairRows: "
    ),
    "sound_file": Target(_sound_file, _SOUNDS, (AudioError,), "read_audio: "),
    "sound_bytes": Target(_sound_bytes, _SOUNDS, (AudioError,), "decode_audio: "),
}  # fmt: skip
