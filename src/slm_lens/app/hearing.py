"""What the app hears: a sentence that espeak-ng speaks, or a clip with or without words."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.app.limits import Limits
from slm_lens.errors import AlignmentError, SlmLensError
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.alignment_files import read_alignment
from slm_lens.speech.audio import read_audio
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice
from slm_lens.speech.text_alignment import align_text

VOICES = ("en-us", "en-us+f2", "en-us+f4", "en+m3")
"""Those of the embedded organisms' clips; ``en-us+f4`` was never heard in training."""

WordsFrom = Literal["espeak-ng", "alignment file", "text, roughly aligned", "nothing"]


@dataclass(frozen=True, eq=False)
class Heard:
    """A clip, and the words in it as far as they are known.

    Attributes:
        name: the text, or the name of the file.
        waveform: mono samples, full scale at 1.
        sample_rate_hz: samples per second.
        alignment: words with times; None when they are unknown.
        words_from: where words and times are from.
    """

    name: str
    waveform: Float[Tensor, " n_samples"]
    sample_rate_hz: int
    alignment: Alignment | None
    words_from: WordsFrom

    @property
    def duration_s(self) -> float:
        """Length of the clip in seconds."""
        return self.waveform.numel() / self.sample_rate_hz

    def at(self, sample_rate_hz: int) -> "Heard":
        """The same clip at another rate.

        Args:
            sample_rate_hz: wanted samples per second.

        Returns:
            The clip.
        """
        if sample_rate_hz == self.sample_rate_hz:
            return self
        samples = soxr.resample(self.waveform.numpy(), self.sample_rate_hz, sample_rate_hz)
        return replace(self, waveform=torch.from_numpy(samples), sample_rate_hz=sample_rate_hz)

    @property
    def words(self) -> tuple[str, ...]:
        """The words, in order; none when they are unknown."""
        return () if self.alignment is None else tuple(w.word for w in self.alignment)


def speak(text: str, voice: str, sample_rate_hz: int, limits: Limits) -> Heard:
    """A typed sentence, spoken.

    It ends with a full stop unless another mark ends it, as the clips that the organism was
    trained on do.

    Args:
        text: the sentence.
        voice: name of an espeak-ng voice.
        sample_rate_hz: wanted samples per second.
        limits: the largest inputs.

    Returns:
        The clip; its words are in lower case.

    Raises:
        ValueError: the text is empty, too long, or cannot be spoken.
        AudioError: it lasts too long.
        ImportError: there is no espeak-ng.
    """  # noqa: DOC502 (raised by the parts)
    written = limits.text(text)
    sentence = written[0].upper() + written[1:]
    sentence += "" if sentence[-1] in ".!?" else "."
    spoken = EspeakSynthesizer().speak(sentence, Voice(voice))
    limits.seconds(spoken.waveform.numel() / spoken.sample_rate_hz)
    samples = soxr.resample(spoken.waveform.numpy(), spoken.sample_rate_hz, sample_rate_hz)
    words = tuple(AlignedWord(w.word.lower(), w.start_s, w.end_s) for w in spoken.alignment)
    return Heard(written, torch.from_numpy(samples), sample_rate_hz, Alignment(words), "espeak-ng")


def listen(
    path: str | Path,
    sample_rate_hz: int,
    limits: Limits,
    *,
    words_file: str | Path | None = None,
    transcript: str = "",
) -> Heard:
    """An uploaded or recorded clip.

    Args:
        path: a WAV, FLAC or OGG file.
        sample_rate_hz: wanted samples per second.
        limits: the largest inputs.
        words_file: its word times, in any format of `read_alignment`.
        transcript: what is said in it, if there are no word times: they are then found roughly
            (`align_text`).

    Returns:
        The clip; without words if neither is given.

    Raises:
        AudioError: it is too large, too long, or cannot be used.
        AlignmentError: the word times cannot be used, or do not fit the clip.
        ValueError: both words and text are given, or the text cannot be used.
        ImportError: a text is given, and there is no espeak-ng.
    """  # noqa: DOC502 (raised by the parts)
    path = Path(path)
    if words_file is not None and transcript.strip():
        raise ValueError(
            "got an alignment file and a text, expected one of them. Clear the text, or remove "
            "the file."
        )
    limits.file(path)
    with _without_folder_of(path):
        waveform = read_audio(path, sample_rate_hz=sample_rate_hz)
    duration_s = waveform.numel() / sample_rate_hz
    alignment, words_from = None, "nothing"
    if words_file is not None:
        limits.small(Path(words_file))
        with _without_folder_of(Path(words_file)):
            alignment = read_alignment(words_file, clip_duration_s=duration_s)
        words_from = "alignment file"
    elif transcript.strip():
        text = limits.text(transcript)
        alignment = align_text(waveform, text, sample_rate_hz=sample_rate_hz)
        words_from = "text, roughly aligned"
    return Heard(path.stem, waveform, sample_rate_hz, alignment, words_from)


@contextmanager
def _without_folder_of(path: Path) -> Iterator[None]:
    """A visitor is told the name of an uploaded file, not where this machine keeps it."""
    try:
        yield
    except SlmLensError as error:
        raise type(error)(str(error).replace(str(path), path.name)) from None


def with_word(heard: Heard, index: int, word: str, limits: Limits) -> str:
    """The words of a clip with one exchanged.

    Args:
        heard: a clip with words.
        index: number of the word, from 0.
        word: what to put there: one word.
        limits: the largest inputs.

    Returns:
        The sentence.

    Raises:
        AlignmentError: the clip has no words.
        ValueError: there is no such word, or `word` is none, several, or the same.
    """
    words = list(heard.words)
    if not words:
        raise AlignmentError(
            "got a clip without words, expected one whose words are known. Type what is said, or "
            "give an alignment file."
        )
    new = limits.text(word)
    if not 0 <= index < len(words) or " " in new or new.lower() == words[index].lower():
        raise ValueError(
            f"got {new!r} for word {index + 1} of {words}, expected one other word in the place "
            "of a word of the sentence."
        )
    return " ".join([*words[:index], new, *words[index + 1 :]])


def write_wav(heard: Heard, path: Path) -> Path:
    """Write a clip as 16-bit WAV, for a player.

    Args:
        heard: the clip.
        path: where to.

    Returns:
        The file.
    """
    soundfile.write(path, heard.waveform.numpy(), heard.sample_rate_hz, subtype="PCM_16")
    return path
