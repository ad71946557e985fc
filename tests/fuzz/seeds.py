"""Valid documents of every format that is read, written by hand or by another library."""

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from slm_lens.corpus.tables import SCHEMA_VERSION

TEXTGRID_LONG = b'''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 1
            text = "say ""hi"""
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 1
        points: size = 1
        points [1]:
            number = 0.5
            mark = "click"
'''
TEXTGRID_SHORT = b"""File type = "ooTextFile"
Object class = "TextGrid"

0
1
<exists>
1
"IntervalTier"
"words"
0
1
2
0
0.25
""
0.25
1
"cat"
"""
TEXTGRIDS = (TEXTGRID_LONG, TEXTGRID_SHORT, TEXTGRID_SHORT.decode().encode("utf-16"))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


MFA_JSON = (
    _json(
        {
            "start": 0,
            "end": 1.0,
            "tiers": {
                "words": {"type": "interval", "entries": [[0, 0.5, "the"], [0.5, 1, "cat"]]},
                "phones": {"type": "interval", "entries": [[0, 1, "AH"]]},
            },
        }
    ),
)
_WORDS = [{"word": "the", "start": 0.1, "end": 0.2}, {"word": "cat"}]
WHISPERX = (
    _json({"segments": [{"start": 0.0, "end": 1.0, "text": "the cat", "words": _WORDS}]}),
    _json({"word_segments": [{"word": "a", "start": 0, "end": 0.5, "score": 0.9}]}),
)
CTM = (b";; comment\nu 1 0.00 0.25 the 0.9\nu 1 0.25 0.50 cat\n",)
SLAMKIT = (
    _json({"file_name": "a", "text": " the", "aligned_text": [[" the", 0.0, 0.5]]}),
    _json({"a": [{"word": "the", "start": 0.0, "end": 0.5}]}),
)
ANY_JSON = (*MFA_JSON, *WHISPERX, *SLAMKIT)

RUN_CONFIGS = (
    b"""kind: phases
model: {name: organism, dtype: bfloat16}
data:
  format: jsonl_units
  path: "held-out"
  frame_rate_hz: 25.0
out: runs/x
phases: {n_draws: 7}
strict: true
limits: {max_clip_s: 30, max_words: 100}
""",
)
VOCAB_SPECS = (
    b"""streams:
  units: {pattern: "<Un{unit}>", count: 500, frame_rate_hz: 25, deduplicated: true}
  pitch: {offset: 600, count: 10, step: 2}
markers: {speech: <speech>, text: 7}
specials: ["<pad>", "<eos>"]
mark_text_only: true
before: ["<s>", 3]
chat:
  speech: {before: "<user>", after: ["<bot>", 4]}
base_rows: 32000
word_policy: whole_word
""",
)

UNITS = (
    _json({"units": [3, 49, 3], "duration": [20, 5, 25], "file_name": "a.flac",
           "aligned_text": [["the", 0.0, 0.5], ["cat", 0.5, 2.0]]})
    + b"\n\n"
    + _json({"units": [1] * 30, "file_name": "b.flac",
             "aligned_text": '[{"word": "a", "start": 0, "end": 1}]'})
    + b"\n",
)  # fmt: skip
METADATA = (
    _json({"file_name": "a", "aligned_text": [["the", 0.0, 0.5], ["cat", 0.5, 0.9]]}) + b"\n",
)
TEXT = ("the cat sat\n\n on the naïve mat\n".encode(),)

PAIRS_CSV = (
    b"name,clean,corrupted,clean_modality,corrupted_modality,answer,foil\n"
    b'one,the cat,"a, dog",text,text,cat,dog\n',
)
_PAIR = {
    "name": "one", "clean": "a.flac", "corrupted": "b.flac", "clean_modality": "speech",
    "corrupted_modality": "text", "answer": "<Un17> <Un20>", "foil": None,
}  # fmt: skip
PAIRS_JSONL = (_json(_PAIR) + b"\n" + _json(_PAIR | {"foil": "b"}) + b"\n",)


def parquet(rows: list[dict[str, object]], **options: Any) -> bytes:
    """Rows as pyarrow writes them."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, **options)
    return file.getvalue()


PAIRS_PARQUET = (parquet([_PAIR]), parquet([_PAIR], compression="none"))


def sound(format: str, subtype: str | None = None, *, n_channels: int = 1) -> bytes:
    """A tenth of a second of noise."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (800, n_channels))
    file = io.BytesIO()
    soundfile.write(file, noise, 8000, format=format, subtype=subtype)
    return file.getvalue()


WAV = (
    sound("WAV"), sound("WAV", "FLOAT", n_channels=2), sound("WAVEX", "PCM_24"), sound("RF64"),
    sound("WAV", "IMA_ADPCM"),
)  # fmt: skip
FLAC = (sound("FLAC"), sound("FLAC", n_channels=2))
OGG = (sound("OGG", "VORBIS"), sound("OGG", "OPUS"))

ROWS: list[dict[str, object]] = [
    {
        "name": f"row {i}",
        "audio": {"bytes": WAV[0], "path": None},
        "words": [{"word": "the", "start": 0.0, "end": 0.05}],
        "units": [3, 49, 3],
        "durations": [20, 5, 25],
    }
    for i in range(3)
]
PARQUET = (parquet(ROWS, row_group_size=2), parquet(ROWS, compression="none", version="1.0"))
ROW_VALUES = (
    _json([{k: v for k, v in row.items() if k != "audio"} | {"audio": "a"} for row in ROWS]),
    _json(
        [
            {
                "units": [1, 2],
                "durations": None,
                "audio": None,
                "words": '[["a", 0, 0.01]]',
                "name": 7,
            }
        ]
    ),
)

MANIFEST = (
    _json(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "phases",
            "rows_depend_on": {"seed": 0},
            "model": {"hash": "ab"},
            "data": {"n_items": 2, "n_shards": 1, "fingerprint": "cd"},
            "table": {"n_draws": 2},
            "versions": {"slm-lens": "0.1.0"},
        }
    ),
)
