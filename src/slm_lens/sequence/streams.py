"""Several speech streams as one run of tokens.

Most models read one stream, the units. Some read more, all of them in one sequence:

| model | streams | tokens |
|---|---|---|
| Spirit LM, expressive | style (1 Hz), pitch (12.5 Hz), units (25 Hz) | ``[St7][Pi3][Hu9][Hu4]`` |
| Llama-Mimi, SODA | 4 or 8 codebooks (12.5 Hz) | the codes of a frame, then the next frame |
| Orpheus | the 7 codes of a frame (about 12 Hz) | the same |

One rule covers them: tokens stand in the order in which they *start*, and those that start at the
same time in the order in which the vocabulary lists their streams.

Source: Spirit LM (https://github.com/facebookresearch/spiritlm), ``speech_tokenizer``: style, then
pitch, then units, sorted by time; Nguyen et al. 2024, arXiv:2402.05755. A codec's order within a
frame is the same rule with equal times.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.errors import VocabError
from slm_lens.speech.units import SpeechUnits, Units
from slm_lens.vocab import SpeechTextVocab

# Encoders of one clip drop its end differently, each up to a frame and its receptive field.
STREAM_TOLERANCE_FRAMES = 2


@dataclass(frozen=True)
class SpeechTokens:
    """The tokens of a stretch of speech, and where its units are.

    Attributes:
        tokens: token ids in the order in which the model reads them.
        unit_spans: for each unit of the stream ``"units"``, the positions ``(start, end)`` of
            what starts together with it: its own token, and those of other streams that start at
            the same time. They rise and do not overlap.
    """

    tokens: tuple[int, ...]
    unit_spans: tuple[tuple[int, int], ...]

    def positions(self, first: int, last: int) -> tuple[int, int]:
        """Positions of the units ``[first, last)``.

        Args:
            first: first unit.
            last: one past the last unit.

        Returns:
            Half-open span from the start of the first unit's to the end of the last unit's span,
            with all that lies between; an empty one where the unit `first` would start if there
            are no units.
        """
        if first < last:
            return self.unit_spans[first][0], self.unit_spans[last - 1][1]
        start = self.unit_spans[first][0] if first < len(self.unit_spans) else len(self.tokens)
        return start, start

    def cut(self, first: int, last: int) -> "SpeechTokens":
        """The units ``[first, last)`` and what lies between them, on their own.

        Args:
            first: first unit.
            last: one past the last unit.

        Returns:
            Tokens of `positions`, and spans that count from the first of them.
        """
        start, end = self.positions(first, last)
        spans = self.unit_spans[first:last]
        return SpeechTokens(self.tokens[start:end], tuple((a - start, b - start) for a, b in spans))


def phonetic_units(speech: SpeechUnits) -> Units:
    """The stream of phonetic units, after which words are placed.

    Args:
        speech: units, or streams by name.

    Returns:
        The stream ``"units"``.
    """
    return speech if isinstance(speech, Units) else speech["units"]


def merge_streams(speech: SpeechUnits, vocab: SpeechTextVocab) -> SpeechTokens:
    """Tokens of all streams in the order in which a model reads them.

    Args:
        speech: units, or streams by name: each one that the vocabulary has, since a missing one
            is not what the model was trained on.
        vocab: the model's vocabulary; the order of its streams decides ties.

    Returns:
        The tokens, and the positions of every unit.

    Raises:
        VocabError: the streams are not those of the vocabulary, or a unit is not in its stream.
        ValueError: a stream is longer or shorter than the units by more than two frames of the
            slower of both.
    """  # noqa: DOC502 (raised by the parts)
    streams = {"units": speech} if isinstance(speech, Units) else dict(speech)
    _check_names(streams, vocab)
    _check_durations(streams)
    timed: list[tuple[float, int]] = []
    for name in vocab.streams:
        tokens = vocab.unit_to_token(streams[name].ids, name).tolist()
        timed += zip(streams[name].starts_s.tolist(), tokens, strict=True)
    timed.sort(key=itemgetter(0))  # stable: ties keep the order of the streams
    starts_s = [start_s for start_s, _ in timed]
    spans = [
        (bisect_left(starts_s, start_s), bisect_right(starts_s, start_s))
        for start_s in streams["units"].starts_s.tolist()
    ]
    return SpeechTokens(tuple(token for _, token in timed), tuple(spans))


def stream_times_s(speech: SpeechUnits, vocab: SpeechTextVocab) -> Float[Tensor, "n_tokens 2"]:
    """When each token of all streams sounds, in the order of `merge_streams`.

    Args:
        speech: as there.
        vocab: as there.

    Returns:
        Start and end in seconds from the start of the clip, float64.

    Raises:
        VocabError: the streams are not those of the vocabulary.
        ValueError: a stream is longer or shorter than the units.
    """  # noqa: DOC502 (raised by the checks)
    streams = {"units": speech} if isinstance(speech, Units) else dict(speech)
    _check_names(streams, vocab)
    _check_durations(streams)
    starts = torch.cat([streams[name].starts_s for name in vocab.streams])
    ends = torch.cat([streams[name].ends_s for name in vocab.streams])
    order = starts.argsort(stable=True)
    return torch.stack([starts, ends], 1)[order]


def _check_names(streams: Mapping[str, Units], vocab: SpeechTextVocab) -> None:
    missing = [name for name in {"units": None, **vocab.streams} if name not in streams]
    unknown = [name for name in streams if name not in vocab.streams]
    if missing or unknown:
        raise VocabError(
            f"SpeechTextSequence: got speech streams {list(streams)}, expected all those of the "
            f"vocabulary, {list(vocab.streams)}"
            + (f"; missing: {missing}" if missing else "")
            + (f"; unknown: {unknown}" if unknown else "")
            + ". Give them as {name: Units}."
        )


def _check_durations(streams: Mapping[str, Units]) -> None:
    """Refuse streams that cannot be of one clip."""
    units = streams["units"]
    for name, stream in streams.items():
        slower_hz = min(stream.frame_rate_hz, units.frame_rate_hz)
        limit_s = STREAM_TOLERANCE_FRAMES / slower_hz
        # Quotients of whole frames: a difference on the limit may come out a rounding above it.
        if abs(stream.duration_s - units.duration_s) > limit_s + 1e-9:
            raise ValueError(
                f"SpeechTextSequence: stream {name!r} lasts {stream.duration_s:.3f} s and the "
                f"units {units.duration_s:.3f} s, expected a difference of at most {limit_s:.3f} "
                f"s ({STREAM_TOLERANCE_FRAMES} frames at {slower_hz} Hz). Are they of one clip, "
                "and are the frame rates and durations right?"
            )
