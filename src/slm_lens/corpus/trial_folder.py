"""Folders of trials as slamkit lays them out: sWUGGY, sBLIMP, StoryCloze, SALMon.

| `layout` | files | right | `subfolders` by default |
|---|---|---|---|
| ``swuggy`` | ``{number}_...`` | the first of two, by number | yes |
| ``sblimp`` | ``{number}+...`` | the first of two, by number | yes |
| ``storycloze`` | ``{number}_...`` | the first of two, by number | no (of several voices: set it) |
| ``salmon`` | ``sample_{number}_{0 or 1}`` | 0 | yes, the parts |
| ``cross_modal`` | ``{name}_mutual``, ``_correct``, ``_incorrect``, as sound and ``.txt`` | correct | yes |

With `subfolders` the trials lie in folders in the folder, whose names become their parts, and pairs
are made within each. Without, they lie in the folder itself and have no part, but for SALMon, where
it is the folder's name. How numbers become pairs, also where files are missing, is in
`slm_lens.corpus._trial_pairs`.

Sound may be WAV, FLAC or OGG, of any rate; several channels are averaged, where slamkit takes the
first one. Published copies were not at hand when this was written: the rules are those of
slamkit's code and settings, and say nothing of what stands after the number in a name.

Source: slamkit ``modelling_metric``, ``cross_modal_metric`` and ``config/metric``; Maimon et al.
2025, arXiv:2504.02398. Sets: Nguyen et al. 2020, arXiv:2011.11588 (sWUGGY, sBLIMP); Hassid et al.
2023, arXiv:2305.13009 (StoryCloze); Maimon et al. 2024, arXiv:2409.07437 (SALMon).
"""  # noqa: E501 (rows of a table)

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from slm_lens.corpus._trial_pairs import FilePair, mutual_pairs, numbered_pairs, salmon_pairs
from slm_lens.corpus.dataset import ItemKey, ReadOptions, inside, printable
from slm_lens.corpus.folder import AUDIO_ENDINGS
from slm_lens.corpus.items import Holds, Item, TrialItem
from slm_lens.corpus.row_items import checked_text
from slm_lens.sequence.word_span import Modality
from slm_lens.speech.audio import read_audio

Layout = Literal["swuggy", "sblimp", "storycloze", "salmon", "cross_modal"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_TEXT_ENDINGS = (".txt",)
_SEPARATORS = {"swuggy": "_", "sblimp": "+", "storycloze": "_"}


@dataclass(frozen=True)
class _Trial:
    """A pair of files and the part that it belongs to."""

    part: str
    folder: str
    pair: FilePair


class TrialFolder:
    """Trials of a folder.

    Args:
        folder: the folder.
        options: how items are read.
        layout: how it is laid out, see above.
        subfolders: whether the trials lie in folders in it; None as above.
        prompt_modality: of ``cross_modal``: what prompts are read as.
        completion_modality: of ``cross_modal``: what completions are read as.

    Raises:
        LookupError: there is no such folder, or it has no files of the layout.
        ValueError: the folder has another layout, or an entry is missing or has no meaning for it.
    """

    holds: Holds = "trials"
    has_words = False

    def __init__(
        self,
        folder: str | Path,
        options: ReadOptions,
        *,
        layout: Layout,
        subfolders: bool | None = None,
        prompt_modality: Modality | None = None,
        completion_modality: Modality | None = None,
    ) -> None:
        self._root, self._options, self._layout = Path(folder), options, layout
        _check_modalities(layout, prompt_modality, completion_modality)
        self._prompt: Modality = prompt_modality or "speech"
        self._completion: Modality = completion_modality or "speech"
        self.has_sound = "speech" in (self._prompt, self._completion)
        if not self._root.is_dir():
            raise LookupError(
                f"TrialFolder: no folder at {str(folder)!r}, expected one of the layout {layout!r}."
            )
        deep = layout != "storycloze" if subfolders is None else subfolders
        self._trials = [t for part in self._parts(deep) for t in self._of_part(part)]
        if not any(not t.pair.problem for t in self._trials):
            said = f" ({self._trials[0].pair.problem})" if self._trials else ""
            raise LookupError(
                f"TrialFolder: {self._root} has no trial of the layout {layout!r} among "
                f"{len(self._trials)} names{said}, expected some. Is it another layout, or are "
                "its files elsewhere?"
            )

    def item_keys(self) -> Iterator[ItemKey]:
        """Every trial, by part, then number or name.

        Yields:
            Keys named by part and the right file; what is no trial is among them, and an error
            when it is read.
        """
        for number, trial in enumerate(self._trials):
            name = f"{trial.folder}/{trial.pair.name}" if trial.folder else trial.pair.name
            files = trial.pair.files
            size = sum(f.stat().st_size for f in files if f.is_file())
            place = " ".join(f.relative_to(self._root).as_posix() for f in files)
            yield ItemKey(printable(name), printable(place), number, size)

    def words(self, key: ItemKey) -> tuple[str, ...]:  # noqa: ARG002 (of clips)
        """No words: trials have none with times.

        Args:
            key: which trial.

        Returns:
            None.
        """
        return ()

    def read(self, key: ItemKey, *, sample_rate_hz: int | None) -> TrialItem:
        """One trial.

        Args:
            key: which one.
            sample_rate_hz: rate of the samples; None if nothing is read as sound.

        Returns:
            The trial.

        Raises:
            ValueError: its files are no pair.
        """
        trial = self._trials[key.number]
        pair = trial.pair
        if pair.problem or pair.right is None or pair.wrong is None:
            raise ValueError(
                f"{key.place}: {pair.problem}, expected one file for each side of a trial of the "
                f"layout {self._layout!r}. Copy the missing one, or remove what is no part of it."
            )
        read = partial(self._segment, sample_rate_hz=sample_rate_hz)
        prompt = None if pair.prompt is None else read(pair.prompt, self._prompt)
        right, wrong = (read(file, self._completion) for file in (pair.right, pair.wrong))
        return TrialItem(trial.part, prompt, right, wrong)

    def _segment(self, file: Path, modality: Modality, *, sample_rate_hz: int | None) -> Item:
        """A sound or text file.

        Raises:
            ValueError: no rate is given.
        """
        limits, place = self._options.limits, file.relative_to(self._root).as_posix()
        path = inside(self._root, place)
        size = path.stat().st_size
        if modality == "text":
            limits.check(f"the size of {place} in bytes", size, "max_row_bytes")
            return Item(text=checked_text(path.read_text("utf-8"), place, self._options))
        if sample_rate_hz is None:
            raise ValueError("TrialFolder: got no sample rate, expected that of a unit tokenizer.")
        limits.check(f"the size of {place} in bytes", size, "max_clip_bytes")
        return Item(
            waveform=read_audio(
                path, sample_rate_hz=sample_rate_hz, max_duration_s=limits.max_clip_s
            )
        )

    def _parts(self, deep: bool) -> list[Path]:
        """Folders with trials, sorted by name.

        Raises:
            ValueError: there are trials where none are looked for.
        """
        folders = sorted(p for p in self._root.iterdir() if p.is_dir() and not _is_hidden(p))
        elsewhere = [self._root] if deep else folders
        stray = [f for folder in elsewhere for f in self._files(folder)]
        if stray:
            where = "the folder itself" if deep else "folders in it"
            raise ValueError(
                f"TrialFolder: {self._root} has {len(stray)} files in {where} (such as "
                f"{stray[0].name!r}), expected none with subfolders={deep} of the layout "
                f"{self._layout!r}. Set subfolders to {not deep}, or move them."
            )
        return folders if deep else [self._root]

    def _of_part(self, folder: Path) -> list[_Trial]:
        """Trials of one folder.

        Raises:
            ValueError: its files cannot be paired.
        """
        files = self._files(folder)
        if not files:
            return []
        inner = "" if folder == self._root else folder.name
        try:
            pairs = self._pairs(files)
        except ValueError as error:
            raise ValueError(f"TrialFolder: {folder}: {error}") from None
        part = folder.resolve().name if self._layout == "salmon" else inner
        return [_Trial(printable(part), inner, pair) for pair in pairs]

    def _pairs(self, files: list[Path]) -> list[FilePair]:
        if self._layout == "salmon":
            return salmon_pairs(files)
        if self._layout == "cross_modal":
            endings = {"speech": AUDIO_ENDINGS, "text": _TEXT_ENDINGS}
            of_side = endings[self._completion]
            roles = {"mutual": endings[self._prompt], "correct": of_side, "incorrect": of_side}
            return mutual_pairs(files, roles)
        return numbered_pairs(files, _SEPARATORS[self._layout])

    def _files(self, folder: Path) -> list[Path]:
        """Files of a folder that may be of trials, sorted by name."""
        text = _TEXT_ENDINGS if self._layout == "cross_modal" else ()
        endings = (*AUDIO_ENDINGS, *text)
        return sorted(
            p for p in folder.iterdir() if p.suffix.lower() in endings and not _is_hidden(p)
        )


def _is_hidden(path: Path) -> bool:
    """Such as ``._1_word.wav``, which a Mac puts beside a file."""
    return path.name.startswith(".")


def _check_modalities(layout: Layout, prompt: Modality | None, completion: Modality | None) -> None:
    """Refuse modalities where there is no choice, and their absence where there is.

    Raises:
        ValueError: saying which.
    """
    given = [m for m in (prompt, completion) if m is not None]
    if len(given) != (2 if layout == "cross_modal" else 0):
        raise ValueError(
            f"TrialFolder: got prompt_modality={prompt!r} and completion_modality={completion!r} "
            f"for the layout {layout!r}, expected both ('speech' or 'text') for 'cross_modal', and "
            "neither for the others, which are speech."
        )
