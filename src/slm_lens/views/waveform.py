"""A clip as a waveform with its words under it, to be listened to."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from slm_lens.sequence.word_span import WordSpan
from slm_lens.speech.audio import check_waveform
from slm_lens.views.page import View
from slm_lens.views.sound import Codec, encoded_sound, outline, sound_data


def waveform_view(
    waveform: Float[Tensor, " n_samples"],
    sample_rate_hz: int,
    words: Sequence[WordSpan] = (),
    *,
    codec: Codec = "flac",
    title: str = "Sound",
    utterance: str | None = None,
) -> View:
    """The outline of a clip and its words in time; a click on a word plays and selects it.

    Args:
        waveform: mono samples.
        sample_rate_hz: samples per second.
        words: words of the utterance; those without times are not shown.
        codec: how the sound is stored in the page, as in `encoded_sound`.
        title: heading.
        utterance: name that views of one utterance share on a page.

    Returns:
        The view.

    Raises:
        AudioError: the samples are several channels, none, or not finite.
        ValueError: an unknown codec, or a rate that it does not have.
    """  # noqa: DOC502 (raised by the parts)
    check_waveform(waveform, "waveform_view", silence_dbfs=None)
    sound = encoded_sound(waveform, sample_rate_hz, codec)
    data = {
        "sound": sound_data(sound, codec),
        "outline": outline(waveform),
        **timeline(waveform.numel() / sample_rate_hz, words),
    }
    return View(
        kind="waveform",
        data=data,
        title=title,
        description=(
            f"{data['duration_s']:.2f} s of sound with {len(data['words'])} words in time. Space "
            "plays and stops."
        ),
        utterance=utterance,
        scripts=("player",),
    )


def timeline(duration_s: float, words: Sequence[WordSpan]) -> dict[str, Any]:
    """What the script needs besides sound and outline.

    Args:
        duration_s: length of the clip.
        words: words of the utterance.

    Returns:
        The length, and every word with times, under its number in the utterance.
    """
    return {
        "duration_s": duration_s,
        "words": [
            {"number": i, "word": w.word, "start_s": w.start_s, "end_s": w.end_s}
            for i, w in enumerate(words)
            if w.start_s is not None and w.end_s is not None
        ],
    }
