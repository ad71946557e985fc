"""Over which data a run goes."""

from dataclasses import dataclass
from typing import Literal

from slm_lens.corpus.trial_folder import Layout
from slm_lens.sequence.word_span import Modality
from slm_lens.speech.alignment_files import Missing, Overlap

DataFormat = Literal["folder", "jsonl_units", "parquet", "huggingface", "text", "trials", "pairs"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data; further entries depend on the format.

    Attributes:
        format: "folder" of sound beside word times; "jsonl_units" (slamkit's features, and other
            units that were extracted before); "parquet", a file or folder of it; "huggingface", a
            data set on the hub or on disk; "text"; "trials", folders of sWUGGY, sBLIMP, StoryCloze
            and SALMon; "pairs", a table as `slm_lens.read_pairs` takes it.
        path: the file or folder; of "huggingface" also a hub id.
        metadata: of "jsonl_units": where the words are.
        frame_rate_hz: of units: frames in a second.
        name_column, audio_column, words_column, units_column, durations_column: of tables of
            clips ("parquet", "huggingface"): see `TableColumns`.
        prompt_column, right_column, wrong_column, part_column: of tables of trials: the same.
        subset: of "huggingface": configuration of the data set.
        split: of "huggingface": which split.
        revision: of "huggingface": branch, tag or commit on the hub.
        layout: of "trials": how the folder is laid out; see `TrialFolder`.
        subfolders: of "trials": whether trials lie in folders in it; None as the layout has it.
        prompt_modality, completion_modality: of "trials" of the layout "cross_modal".
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
    prompt_column: str | None = None
    right_column: str | None = None
    wrong_column: str | None = None
    part_column: str | None = None
    subset: str | None = None
    split: str | None = None
    revision: str | None = None
    layout: Layout | None = None
    subfolders: bool | None = None
    prompt_modality: Modality | None = None
    completion_modality: Modality | None = None
    overlap: Overlap = "refuse"
    missing: Missing = "refuse"
