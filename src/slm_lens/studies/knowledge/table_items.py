"""Spoken facts of a table: prompt, correct and counterfactual completion, spoken and written.

Columns are named by the caller, never guessed. The same table is opened once for every use of it,
by the readers of the corpus: as clips, for the words of the spoken prompt, and as trials, one
setting at a time. So what a column may hold, and all limits, are theirs.

Source: the shape is that of Common-Sense Facts Audio, Sternberg et al. 2026, arXiv:2606.22473
(``slprl/common-sense-facts-audio``), whose column names were not at hand when this was written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from slm_lens.corpus.data_config import DataConfig
from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, ItemKey, Limits
from slm_lens.corpus.items import AnyItem, Item, TrialItem
from slm_lens.corpus.joined_trials import joined_trial
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import WordSpan
from slm_lens.speech.alignment_files import Missing, Overlap
from slm_lens.studies.knowledge.fact_items import SETTINGS, FactItem, Setting

TableFormat = Literal["parquet", "huggingface"]


@dataclass(frozen=True, kw_only=True)
class FactColumns:
    """Which columns of a table hold what; None for what it lacks.

    Attributes:
        name: names of the items; None names them by file and row.
        category: category of the fact.
        subject: the subject as written; its last word is the one that has to be transcribed.
        prompt_words: word times of the spoken prompt.
        prompt_audio, correct_audio, counterfactual_audio: sound (or units) of the prompt, and of
            the completions by themselves.
        prompt_text, correct_text, counterfactual_text: the same as text.
    """

    name: str | None = None
    category: str | None = None
    subject: str | None = None
    prompt_words: str | None = None
    prompt_audio: str | None = None
    correct_audio: str | None = None
    counterfactual_audio: str | None = None
    prompt_text: str | None = None
    correct_text: str | None = None
    counterfactual_text: str | None = None

    def of(self, modality: str) -> tuple[str | None, str | None, str | None]:
        """Columns of prompt, right and wrong completion in a modality.

        Args:
            modality: ``"S"`` or ``"T"``.

        Returns:
            Their names.
        """
        if modality == "S":
            return self.prompt_audio, self.correct_audio, self.counterfactual_audio
        return self.prompt_text, self.correct_text, self.counterfactual_text

    def settings(self) -> list[Setting]:
        """Settings whose columns are there.

        Returns:
            Some of `SETTINGS`.
        """
        return [
            s for s in SETTINGS if self.of(s[0])[0] is not None and None not in self.of(s[-1])[1:]
        ]


def table_items(
    model: HookedSLM,
    path: str,
    columns: FactColumns,
    *,
    format: TableFormat,
    split: str | None,
    overlap: Overlap,
    missing: Missing,
) -> list[FactItem]:
    """Items of a table, made for one model.

    Args:
        model: turns sound into units, and both into tokens.
        path: Parquet file or folder, or a data set of Hugging Face on the hub or on disk.
        columns: which columns hold what.
        format: how it is stored.
        split: of Hugging Face: which split.
        overlap: what to do with words that overlap in time; see `read_alignment`.
        missing: what to do with words without times; see `read_alignment`.

    Returns:
        An item for each row, in all settings whose columns are named. A cluster is a subject, or,
        if none is named, a row.

    Raises:
        LookupError: there is no such table, or it lacks a column.
        ValueError: the columns make no setting, words are named without the prompt's sound or a
            subject without words, a row cannot be read, or its subject is not in its prompt.
    """  # noqa: DOC502 (LookupError is raised by the readers)
    settings = columns.settings()
    lacks_words = columns.subject is not None and columns.prompt_words is None
    lacks_sound = columns.prompt_words is not None and columns.prompt_audio is None
    if not settings or lacks_words or lacks_sound:
        raise ValueError(
            f"knowledge: got {columns}, which give the settings {settings}, expected prompt and "
            "both completions as sound, text or both; word times only with the prompt's sound, and "
            "a subject only with word times. Name the columns of your data."
        )
    entries = {"format": format, "path": path, "split": split}
    entries |= {"overlap": overlap, "missing": missing, "name_column": columns.name}

    def opened(**of: str | None) -> Dataset:
        return open_dataset(DataConfig(**entries, **of), Limits())  # pyright: ignore[reportArgumentType]

    views: dict[Setting, Dataset] = {
        s: opened(
            prompt_column=columns.of(s[0])[0],
            right_column=columns.of(s[-1])[1],
            wrong_column=columns.of(s[-1])[2],
            part_column=columns.category,
        )
        for s in settings
    }
    clips = subjects = None
    if columns.prompt_words is not None:
        clips = opened(audio_column=columns.prompt_audio, words_column=columns.prompt_words)
    if columns.subject is not None:  # the readers have no column of plain text but those of trials
        subjects = opened(right_column=columns.subject, wrong_column=columns.subject)
    return list(_items(model, views, clips, subjects))


def _items(
    model: HookedSLM,
    views: dict[Setting, Dataset],
    clips: Dataset | None,
    subjects: Dataset | None,
) -> Iterator[FactItem]:
    for key in list(next(iter(views.values())).item_keys()):
        trials, category = {}, ""
        for setting, view in views.items():
            item = _read(model, view, key)
            assert isinstance(item, TrialItem)
            category = item.part
            trials[setting] = joined_trial(model, key.name, item)
        prompt = subject = None
        cluster = key.name
        if clips is not None:
            clip = _read(model, clips, key)
            assert isinstance(clip, Item)
            assert clip.units is not None
            sequence = model.sequence_from_units(clip.units, clip.alignment)
            prompt = Utterance(key.name, sequence)
        if prompt is not None and subjects is not None:
            told = _read(model, subjects, key)
            assert isinstance(told, TrialItem)
            cluster = str(told.right.text)
            subject = subject_in(prompt.sequence.words, cluster, key.name)
        yield FactItem(key.name, category, cluster, trials, prompt, subject)


def _read(model: HookedSLM, view: Dataset, key: ItemKey) -> AnyItem:
    """An item, in units.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        rate_hz = model.unit_tokenizer.sample_rate_hz if view.has_sound else None
        item = view.read(key, sample_rate_hz=rate_hz)
        return item.with_units(model.unit_tokenizer) if view.has_sound else item
    except ITEM_ERRORS as error:
        raise ValueError(
            f"knowledge: {key.place} cannot be read ({error}), expected every row to be an item: "
            "the study leaves none out by itself. Mend or remove it."
        ) from error


def subject_in(words: tuple[WordSpan, ...], subject: str, name: str) -> int:
    """Which word of a prompt is the last one of the subject.

    Args:
        words: of the spoken prompt.
        subject: as written, of one word or several.
        name: of the item, for messages.

    Returns:
        Its number.

    Raises:
        ValueError: the subject's words do not follow each other in the prompt.
    """
    spoken, sought = [word_type(w.word) for w in words], [word_type(w) for w in subject.split()]
    for end in range(len(sought), len(spoken) + 1):
        if spoken[end - len(sought) : end] == sought:
            return end - 1
    raise ValueError(
        f"knowledge: got the subject {subject!r} of {name!r}, expected it among the words of the "
        f"prompt: {' '.join(spoken)!r}."
    )
