"""Speak text with espeak-ng and learn when each word and phoneme sounds.

espeak-ng is one shared library, called through ctypes. Its callback hands over samples and
events; an event of type 1 marks the start of a word, of type 7 the start of a phoneme, both with
a sample position. Two facts of espeak-ng shape the code below: it *merges* some pairs of short
words into one event ("in the", "of the"), and a pause has a phoneme event of its own, so a
word's end is the start of the next word or of the pause that follows it.

The library comes from the ``espeakng-loader`` package (``pip install 'slm-lens[synth]'``) or, when
that is missing, from a system-wide espeak-ng.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.errors import AlignmentError
from slm_lens.speech._espeak import choose_voice, started
from slm_lens.speech.alignment import AlignedWord, Alignment

_CHARS_UTF8, _POSITION_CHARACTER = 1, 1
_EVENT_END_OF_LIST, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_RATE, _PITCH, _RANGE = 1, 3, 4


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Voice:
    """How a sentence is spoken.

    Attributes:
        name: espeak-ng voice with variant, such as ``"en-us+f3"``.
        rate_wpm: words per minute, espeak-ng's own scale (80 to 450).
        pitch: base pitch on espeak-ng's scale, 0 to 99.
        pitch_range: liveliness on espeak-ng's scale, 0 to 99.
    """

    name: str
    rate_wpm: int = 160
    pitch: int = 50
    pitch_range: int = 50


@dataclass(frozen=True, eq=False)
class SpokenText:
    """A spoken clip.

    Attributes:
        waveform: mono samples in [-1, 1].
        sample_rate_hz: samples per second (22050 for espeak-ng's own voices).
        alignment: the words of the text with their times.
    """

    waveform: Float[Tensor, " n_samples"]
    sample_rate_hz: int
    alignment: Alignment


class EspeakSynthesizer:
    """espeak-ng. The same text and voice give the same samples, whatever was spoken before.

    Needs espeak-ng 1.52 or later, whose noise can be seeded.

    Raises:
        ImportError: no espeak-ng library was found.
    """

    def __init__(self) -> None:
        with started("Speaking") as (_, rate_hz):
            self.sample_rate_hz: int = rate_hz

    def speak(self, text: str, voice: Voice) -> SpokenText:
        """Speak one text.

        Args:
            text: words separated by spaces, with or without punctuation, on one line.
            voice: who speaks, and how fast and high.

        Returns:
            The clip, with the times of every word; words carry no punctuation.

        Raises:
            ValueError: the text has no words or more than one line, or espeak-ng does not know
                the voice.
            AlignmentError: espeak-ng's events do not cover the words of the text.
        """  # noqa: DOC502 (some raised by the helpers)
        words = _words_with_positions(text)
        with started("Speaking") as (library, rate_hz):
            _set_voice(library, voice)
            samples, events = _synthesize(library, text)
        alignment = _align(words, events, samples.size, rate_hz)
        waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
        return SpokenText(waveform, rate_hz, alignment)


def _set_voice(library: ctypes.CDLL, voice: Voice) -> None:
    choose_voice(library, voice.name, "speak")
    for parameter, value in (
        (_RATE, voice.rate_wpm), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range),
    ):  # fmt: skip
        library.espeak_SetParameter(parameter, value, 0)


def _synthesize(
    library: ctypes.CDLL, text: str
) -> tuple[np.ndarray, list[tuple[int, int, int, int, bytes]]]:
    """16-bit samples, and word and phoneme events: type, text position, length, sample, name."""
    chunks: list[np.ndarray] = []
    kept: list[tuple[int, int, int, int, bytes]] = []

    def receive(samples, n_samples: int, events) -> int:
        if n_samples:
            chunks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        i = 0
        while events[i].type != _EVENT_END_OF_LIST:
            e = events[i]
            if e.type in (_EVENT_WORD, _EVENT_PHONEME):
                kept.append((e.type, e.text_position, e.length, e.sample, e.string))
            i += 1
        return 0

    callback = _CALLBACK(receive)  # named, because the library holds only the pointer
    library.espeak_SetSynthCallback(callback)
    raw = text.encode()
    library.espeak_Synth(raw, len(raw) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
    return np.concatenate(chunks), kept


def _words_with_positions(text: str) -> list[tuple[str, int]]:
    """Words without punctuation, each with the 1-based character position where it starts."""
    if any(c.isspace() and c != " " for c in text):
        raise ValueError(f"speak: got {text!r}, expected one line with spaces between words.")
    words, position = [], 0
    for piece in text.split(" "):
        bare = piece.strip(".,;:!?\"'")
        if bare:
            words.append((bare, position + piece.index(bare) + 1))
        position += len(piece) + 1
    if not words:
        raise ValueError(f"speak: got {text!r}, expected at least one word.")
    return words


def _align(
    words: list[tuple[str, int]],
    events: list[tuple[int, int, int, int, bytes]],
    n_samples: int,
    sample_rate_hz: int,
) -> Alignment:
    """Word times from word and phoneme events, with merged words split again."""
    # A phoneme event marks the end of its phoneme's *predecessor*; pauses are "_", "_:", "_!".
    phonemes = [(sample, name) for kind, _, _, sample, name in events if kind == _EVENT_PHONEME]
    groups = _group_by_event(words, [(p, s) for kind, p, _, s, _ in events if kind == _EVENT_WORD])
    aligned: list[AlignedWord] = []
    for i, (start, members) in enumerate(groups):
        limit = groups[i + 1][0] if i + 1 < len(groups) else n_samples
        inside = [(s, n) for s, n in phonemes if start <= s < limit]
        end = next((s for s, n in inside if n.startswith(b"_") and s > start), limit)
        onsets = [s for s, n in inside if s < end]
        bounds = _split(start, end, [len(w) for w in members], onsets)
        for word, a, b in zip(members, bounds, bounds[1:], strict=False):
            aligned.append(AlignedWord(word, a / sample_rate_hz, b / sample_rate_hz))
    return Alignment(tuple(aligned))


def _group_by_event(
    words: list[tuple[str, int]], starts: list[tuple[int, int]]
) -> list[tuple[int, list[str]]]:
    """Sample position of each word event with the words it stands for (two when merged)."""
    sample_of = dict(starts)
    groups: list[tuple[int, list[str]]] = []
    for word, position in words:
        if position in sample_of:
            groups.append((sample_of[position], [word]))
        elif groups:
            groups[-1][1].append(word)
        else:
            raise AlignmentError(
                f"speak: espeak-ng gave no time for the first word {word!r}; expected a word event "
                f"at character {position}, got events at {sorted(sample_of)}. Does the text begin "
                "with a sign such as '<'? Write words in letters."
            )
    return groups


def _split(start: int, end: int, lengths: list[int], onsets: list[int]) -> list[int]:
    """Boundaries of merged words: phonemes are shared out in proportion to letters."""
    bounds = [start]
    for n in range(1, len(lengths)):
        share = sum(lengths[:n]) / sum(lengths)
        later = [s for s in onsets if bounds[-1] < s < end]
        wanted = round(len(onsets) * share)
        bounds.append(
            onsets[wanted]
            if onsets[wanted:] and onsets[wanted] in later
            else round(start + (end - start) * share)
        )
    return [*bounds, end]
