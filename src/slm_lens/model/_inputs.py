"""What a model is given to read, held against what its description says."""

from collections.abc import Mapping

from slm_lens.families.vocab_spec import StreamSpec, VocabSpec
from slm_lens.speech.units import Units

# Published rates are rounded: 24.99 and 25 Hz are one unit tokenizer.
RATE_TOLERANCE = 0.01


def words_of(text: object) -> list[str]:
    """The words of a written prompt.

    Raises:
        TypeError: it is no text.
        ValueError: there is no word in it.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"sequence_from_text: got a {type(text).__name__}, expected words with spaces between "
            'them. Write sequence_from_text("the zebra").'
        )
    words = text.split()
    if not words:
        raise ValueError(
            f"sequence_from_text: got {text!r}, expected at least one word. A prompt without "
            "words is SpeechTextSequence.from_text([], ...)."
        )
    return words


def check_units(given: object, spec: VocabSpec | None) -> None:
    """Refuse units that are none, or that this model's unit tokenizer cannot have made.

    Raises:
        TypeError: they are neither units nor streams of units.
        ValueError: frame rate or repeats are not those of the description.
    """
    streams = {"units": given} if isinstance(given, Units) else given
    if not isinstance(streams, Mapping) or not all(
        isinstance(stream, Units) for stream in streams.values()
    ):
        raise TypeError(
            f"sequence_from_units: got a {type(given).__name__}, expected Units or streams of "
            "Units by name. Make them with Units.from_frames(ids, frame_rate_hz=..., dedup=...)."
        )
    for name, described in spec.streams.items() if spec else ():
        if name in streams:
            odd = _contradiction(streams[name], described)
            if odd:
                raise ValueError(
                    f"sequence_from_units: stream {name!r} has {odd}. Encode with the model's own "
                    "unit tokenizer, or build the sequence with SpeechTextSequence.from_speech if "
                    "you mean it."
                )


def _contradiction(units: Units, described: StreamSpec) -> str | None:
    """What the units have and the description does not allow."""
    rate_hz = described.frame_rate_hz
    if rate_hz is not None and abs(units.frame_rate_hz - rate_hz) > RATE_TOLERANCE * rate_hz:
        return f"units at {units.frame_rate_hz} Hz, expected {rate_hz} Hz"
    if described.deduplicated is True and (units.ids[1:] == units.ids[:-1]).any():
        return "repeated units, expected runs of one unit as one (dedup=True)"
    if described.deduplicated is False and (units.durations_frames > 1).any():
        return "units of several frames, expected one for each frame (dedup=False)"
    return None
