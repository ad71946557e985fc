"""The same words spoken and written: what a model's layers hold of both."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.states import Forward, residual_stack
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.batch import pad_batch
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import Modality


@dataclass(frozen=True, eq=False)
class PairedUtterance:
    """The same words, spoken and written.

    Attributes:
        name: of the utterance.
        speech: the words spoken.
        text: the words written.

    Raises:
        ValueError: the two do not carry the same words in the same order, or one of them is not of
            its modality alone.
    """

    name: str
    speech: SpeechTextSequence
    text: SpeechTextSequence

    def __post_init__(self) -> None:
        said, written = ([w.word for w in s.words] for s in (self.speech, self.text))
        of = [{w.modality for w in s.words} for s in (self.speech, self.text)]
        if not said or said != written or of != [{"speech"}, {"text"}]:
            raise ValueError(
                f"PairedUtterance {self.name!r}: got {len(said)} words of {sorted(of[0])} and "
                f"{len(written)} of {sorted(of[1])}, expected the same words in the same order, "
                "spoken and written. paired_with_text(model, utterance) writes them."
            )


def paired_with_text(model: HookedSLM, utterance: Utterance) -> PairedUtterance:
    """A spoken utterance with its own words in text.

    Args:
        model: writes them in its own format.
        utterance: spoken, with word spans.

    Returns:
        Both.

    Raises:
        ValueError: the utterance has no words, or some that are not spoken.
        VocabError: the model has no text.
    """  # noqa: DOC502 (VocabError is raised by sequence_from_text)
    words = utterance.sequence.words
    if not words:
        raise ValueError(
            f"paired_with_text: got {utterance.name!r} without words, expected a spoken utterance "
            "with its words. Read it with an alignment: sequence_from_audio(path, alignment)."
        )
    text = model.sequence_from_text(" ".join(w.word for w in words))
    return PairedUtterance(utterance.name, utterance.sequence, text)


@dataclass(frozen=True, eq=False)
class PairedStates:
    """Residual states of one utterance, spoken and written; markers and specials left out.

    Attributes:
        name: of the utterance.
        speech: states at its speech positions, in order.
        text: states at its text positions.
        speech_spans: half-open span of every word, counted over the speech positions; empty for a
            word without a unit.
        text_spans: the same over the text positions.
        words: the words.
    """

    name: str
    speech: Float[Tensor, "layer n_speech d_model"]
    text: Float[Tensor, "layer n_text d_model"]
    speech_spans: Int[Tensor, "n_words 2"]
    text_spans: Int[Tensor, "n_words 2"]
    words: tuple[str, ...]

    @property
    def has_positions(self) -> tuple[bool, ...]:
        """For each word, whether it has a position in both."""
        both = (self.speech_spans, self.text_spans)
        return tuple(((both[0].diff() > 0) & (both[1].diff() > 0)).flatten().tolist())


@torch.no_grad()
def paired_states(
    model: HookedSLM,
    pairs: Sequence[PairedUtterance],
    *,
    batch_size: int = 8,
    forward: Forward = "auto",
) -> tuple[PairedStates, ...]:
    """Residual states of utterances that were spoken and written.

    Args:
        model: the model, in evaluation mode.
        pairs: utterances.
        batch_size: sequences in one forward pass.
        forward: which forward pass gives the states, as in `residual_stack`.

    Returns:
        States by utterance, on the CPU in the model's dtype: layer 0 is the embedding, layer ``l``
        the output of block ``l - 1``. They take ``(n_layers + 1) d_model`` numbers a position.

    Raises:
        ValueError: what `residual_stack` refuses, or a batch of no sequence.
    """
    if batch_size < 1:
        raise ValueError(f"paired_states: got batch_size={batch_size}, expected at least 1.")
    speech = _stacks(model, [p.speech for p in pairs], "speech", batch_size, forward)
    text = _stacks(model, [p.text for p in pairs], "text", batch_size, forward)
    return tuple(
        PairedStates(
            name=pair.name,
            speech=spoken,
            text=written,
            speech_spans=_spans(pair.speech, "speech"),
            text_spans=_spans(pair.text, "text"),
            words=tuple(w.word for w in pair.speech.words),
        )
        for pair, spoken, written in zip(pairs, speech, text, strict=True)
    )


def mean_of_spans(
    states: Float[Tensor, "layer n_positions d_model"], spans: Int[Tensor, "n_spans 2"]
) -> Float[Tensor, "layer n_spans d_model"]:
    """Mean state of every span, such as a word's positions.

    Args:
        states: states by layer.
        spans: half-open, none of them empty.

    Returns:
        Means in float64.

    Raises:
        ValueError: a span is empty or leaves the states.
    """
    starts, ends = spans.unbind(1)
    if not ((starts >= 0) & (starts < ends) & (ends <= states.shape[1])).all():
        raise ValueError(
            f"mean_of_spans: got spans of {int((ends - starts).min())} positions and more up to "
            f"{int(ends.max())} over {states.shape[1]} positions, expected at least one position "
            "in each, none outside. Leave out words without a unit (`has_positions`)."
        )
    place = torch.arange(states.shape[1])
    inside = ((place >= starts[:, None]) & (place < ends[:, None])).double()
    return (inside / inside.sum(1, keepdim=True)) @ states.double()


def _stacks(
    model: HookedSLM,
    sequences: Sequence[SpeechTextSequence],
    modality: Modality,
    batch_size: int,
    forward: Forward,
) -> list[Tensor]:
    """States at the positions of a modality, for each sequence."""
    found: list[Tensor] = []
    for first in range(0, len(sequences), batch_size):
        part = sequences[first : first + batch_size]
        batch = pad_batch(part, pad_token=int(part[0].tokens[0]))
        mask = None if batch.attention_mask.all() else batch.attention_mask
        stack = residual_stack(model, batch.tokens, mask, forward=forward)
        for row, sequence in enumerate(part):
            at = torch.tensor([i for i, kind in enumerate(sequence.kinds) if kind == modality])
            found.append(stack[:, row, at.to(stack.device)].cpu())
    return found


def _spans(sequence: SpeechTextSequence, modality: Modality) -> Int[Tensor, "n_words 2"]:
    """Spans of the words, counted over the positions of their modality."""
    before = torch.tensor([0, *(kind == modality for kind in sequence.kinds)]).cumsum(0)
    return before[torch.tensor([[w.start, w.end] for w in sequence.words])]
