"""Trials of a data set as a model reads them: prompt and completion as one sequence.

Both become one sequence as `slm_lens.likelihood.joining` says: sound was joined before it became
units; units that were extracted before are put together here, which is not quite the same, since
each encoder saw silence where the other part is; text, and what changes modality, is written in
the format of the model's family.
"""

import torch

from slm_lens.corpus.items import Item, TrialItem
from slm_lens.likelihood.joining import Joined, join_segments, join_speech
from slm_lens.likelihood.trial import Trial
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.units import SpeechUnits, Units


def joined_trial(
    model: HookedSLM, name: str, item: TrialItem, *, marked: bool | None = None
) -> Trial:
    """A trial as the model reads it.

    Args:
        model: the model.
        name: of the trial.
        item: the trial, in units and text.
        marked: whether a prompt starts with the marker of its modality; None for as the model's
            family writes it.

    Returns:
        The trial.

    Raises:
        ValueError: a side has no completion, the model has no format for its modalities, or
            `marked` is given for a trial without a prompt.
    """  # noqa: DOC502 (raised by the parts)
    if item.prompt is None:
        right, wrong = (_whole(model, side, marked) for side in (item.right, item.wrong))
        return Trial(name, item.part, right, wrong)
    right, wrong = (_joined(model, item, item.prompt, s, marked) for s in (item.right, item.wrong))
    return Trial(name, item.part, right.sequence, wrong.sequence, right.start, wrong.start)


def _whole(model: HookedSLM, side: Item, marked: bool | None) -> SpeechTextSequence:
    """A side without a prompt, in the format of the model's family.

    Raises:
        ValueError: it should be marked otherwise.
    """
    if marked is not None:
        raise ValueError(
            f"got score.marked={marked} for a trial without a prompt, expected none: it "
            "says how a prompt begins. Leave it out."
        )
    if side.units is not None:
        return model.sequence_from_units(side.units)
    return model.sequence_from_text(str(side.text))


def _joined(
    model: HookedSLM, item: TrialItem, prompt: Item, side: Item, marked: bool | None
) -> Joined:
    """A side with its prompt."""
    if item.prompt_s is not None:
        assert side.units is not None
        return join_speech(model, side.units, prompt_s=item.prompt_s, marked=marked)
    if prompt.units is not None and side.units is not None:
        whole, prompt_s = _put_together(model, prompt.units, side.units)
        return join_speech(model, whole, prompt_s=prompt_s, marked=marked)
    return join_segments(model, _content(prompt), _content(side), marked=marked)


def _put_together(model: HookedSLM, first: SpeechUnits, then: SpeechUnits) -> tuple[Units, float]:
    """Units of two clips as those of one, and how long the first is in seconds.

    A unit that ends one and begins the other is one, if the model's units are deduplicated.

    Raises:
        ValueError: there are several streams, or two frame rates.
    """
    if not isinstance(first, Units) or not isinstance(then, Units):
        raise ValueError(
            "got prompt and completion as several streams of units, expected one, or their "
            "sound: streams are put together by the encoder."
        )
    if first.frame_rate_hz != then.frame_rate_hz:
        raise ValueError(
            f"got a prompt of {first.frame_rate_hz} and a completion of {then.frame_rate_hz} "
            "frames a second, expected one rate. Encode both alike."
        )
    ids, frames = torch.cat([first.ids, then.ids]), first.durations_frames.tolist()
    rest, spec = then.durations_frames.tolist(), model.vocab_spec
    of_units = None if spec is None else spec.streams.get("units")
    if of_units is not None and of_units.deduplicated and ids[len(first)] == first.ids[-1]:
        ids, frames[-1] = torch.cat([first.ids, then.ids[1:]]), frames[-1] + rest.pop(0)
    whole = Units(ids, torch.tensor([*frames, *rest]), first.frame_rate_hz)
    return whole, first.duration_s


def _content(part: Item) -> str | SpeechUnits:
    return str(part.text) if part.units is None else part.units
