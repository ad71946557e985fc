"""Interruptions: a text that the model is in the middle of, and then speech.

::

    interrupted      <text> the zebra finds a <speech> (guitar near the ...)
    uninterrupted    <speech> (the zebra finds a guitar near the ...)
    alone            <speech> (guitar near the ...)

Words in brackets are units, cut from the same clip, so the units behind a switch are the same in
all. Position 0 is the speech marker, in the uninterrupted run the unit before the first one of
the word; position 1 is the word's first unit. After speech the model knows voice and context; after
nothing it knows neither, and after a text the context alone: inertia would be a loss against both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.streams import stream_times_s
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import SpeechUnits
from slm_lens.studies.streams.options import StreamsOptions

_LATER_S = 1e-6

NamedClip = tuple[str, SpeechUnits, Alignment]
"""Name, units and words, as `slm_lens.corpus.folder.encoded_clips` gives them."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip, all spoken and all written.

    Attributes:
        name: of its file.
        units: its units.
        alignment: its words.
        spoken: from the first word's first unit to the last word's last one, with a marker.
        written: the same words as text.
        ends_s: end of the sound of each position of `spoken`; NaN at its marker.
        planned: for each word the text token that the model puts first after the written words
            before it; -1 for the first one.
    """

    name: str
    units: SpeechUnits
    alignment: Alignment
    spoken: SpeechTextSequence
    written: SpeechTextSequence
    ends_s: Float[Tensor, " pos"]
    planned: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Switch:
    """One interruption.

    Attributes:
        clip: index of its clip.
        word: index of the first word that is heard.
        heard: its token ids.
        planned: text token that the model was about to write.
        interrupted: the run with the text before.
        at: position of its speech marker.
        at_spoken: position of the unit before the word in the run that is all spoken.
        alone: the run that begins with the word.
        at_alone: position of its speech marker.
    """

    clip: int
    word: int
    heard: tuple[int, ...]
    planned: int
    interrupted: SpeechTextSequence
    at: int
    at_spoken: int
    alone: SpeechTextSequence
    at_alone: int

    @property
    def name(self) -> str:
        """Unique among the switches of a data set."""
        return f"clip {self.clip}, word {self.word}"


def read_clip(model: HookedSLM, lens: LogitLens, clip: NamedClip) -> Clip:
    """All spoken, all written, and what the model would write.

    Args:
        model: the model.
        lens: its lens.
        clip: name, units and words.

    Returns:
        The clip.
    """
    name, units, alignment = clip
    n_words = len(alignment)
    spoken = model.sequence_interleaved(units, alignment, spoken=[True] * n_words)
    written = model.sequence_interleaved(units, alignment, spoken=[False] * n_words)
    last = residual_stack(model, written.tokens[None])[-1, 0]
    top = lens.readout(last, "top_k", within=["text"], k=1).top_k["text"].ids[:, 0].tolist()
    planned = (-1, *(top[w.end - 1] for w in written.words[:-1]))
    return Clip(name, units, alignment, spoken, written, _ends_s(model, units, alignment, spoken),
                planned)  # fmt: skip


def _ends_s(
    model: HookedSLM, units: SpeechUnits, alignment: Alignment, spoken: SpeechTextSequence
) -> Float[Tensor, " pos"]:
    """Where the sound of each position ends; the run of words is a part of the whole clip."""
    whole = model.sequence_from_units(units, alignment)
    first = next((i for i, w in enumerate(whole.words) if w.start < w.end), None)
    ends_s = torch.full((len(spoken),), torch.nan, dtype=torch.float64)
    if first is None:
        return ends_s
    n_before = sum(kind == "speech" for kind in whole.kinds[: whole.words[first].start])
    start = spoken.words[first].start
    times_s = stream_times_s(units, model.vocab)[n_before:, 1]
    speech = [i for i in range(start, len(spoken)) if spoken.kinds[i] == "speech"]
    ends_s[speech] = times_s[: len(speech)]
    return ends_s


def find_switches(
    model: HookedSLM, clips: Sequence[Clip], options: StreamsOptions
) -> tuple[Switch, ...]:
    """Switches of clips, evenly spread over those that are fit.

    Args:
        model: the model.
        clips: the clips.
        options: which switches count.

    Returns:
        The switches, clip by clip.

    Raises:
        ValueError: fewer than two clips have a switch.
    """
    found = tuple(
        _switch(model, clip, number, word)
        for number, clip in enumerate(clips)
        for word in _spread(list(_fitting(model, clip, options)), options.n_switches)
    )
    n_clips = len({s.clip for s in found})
    if n_clips < 2:
        raise ValueError(
            f"study streams: found {len(found)} switches in {n_clips} of {len(clips)} clips, "
            "expected some in at least two: intervals resample clips, and control words are of "
            f"other clips. With switches={options.switches!r}, min_written={options.min_written}: "
            "try switches='all', a lower min_written, or more clips."
        )
    return found


def _fitting(model: HookedSLM, clip: Clip, options: StreamsOptions) -> Iterable[int]:
    """Words at which speech may begin: they have units and tokens, and a word follows them."""
    words = clip.spoken.words
    for j in range(options.min_written, len(words) - 1):
        heard = model.vocab.word_tokens(words[j].word, model.word_policy)
        after = model.vocab.word_tokens(words[j + 1].word, model.word_policy)
        is_whole = words[j].start < words[j].end and words[j + 1].start < words[j + 1].end
        fits = options.switches == "all" or clip.planned[j] not in heard
        if heard and after and is_whole and fits:
            yield j


def _spread(fitting: list[int], n: int) -> list[int]:
    if len(fitting) <= n:
        return fitting
    return [fitting[int(i)] for i in np.linspace(0, len(fitting) - 1, n).round()]


def _switch(model: HookedSLM, clip: Clip, number: int, word: int) -> Switch:
    n_words = len(clip.alignment)
    words = words_until(clip, n_words, first_spoken=word)
    run = model.sequence_interleaved(clip.units, words, spoken=[i >= word for i in range(n_words)])
    alone = model.sequence_interleaved(
        clip.units, Alignment(words.words[word:]), spoken=[True] * (n_words - word)
    )
    at, at_spoken = run.words[word].start - 1, clip.spoken.words[word].start - 1
    at_alone = alone.words[0].start - 1
    heard = clip.spoken.tokens[at_spoken + 1 :]
    assert run.tokens[at + 1 :].equal(heard), "the same is heard after a text"
    assert alone.tokens[at_alone + 1 :].equal(heard), "the same is heard after nothing"
    return Switch(
        clip=number,
        word=word,
        heard=model.vocab.word_tokens(clip.spoken.words[word].word, model.word_policy),
        planned=clip.planned[word],
        interrupted=run,
        at=at,
        at_spoken=at_spoken,
        alone=alone,
        at_alone=at_alone,
    )


def words_until(clip: Clip, end: int, *, first_spoken: int) -> Alignment:
    """The first words of a clip, so that one of them has the units that it has in the whole clip.

    A unit that ends just where two words meet is the first one's; where only the second one is
    spoken it would be the second one's. So that word is taken to start a little later.

    Args:
        clip: the clip.
        end: how many words.
        first_spoken: index of the word before which no word is spoken.

    Returns:
        The words with their times.
    """
    words = list(clip.alignment.words[:end])
    word = words[first_spoken]
    before = clip.spoken.words[first_spoken].start - 1
    before_s = float(clip.ends_s[before]) if before >= 0 else np.nan
    if before_s >= word.start_s:  # not where there is no unit before
        words[first_spoken] = replace(word, start_s=before_s + _LATER_S)
    return Alignment(tuple(words))


def utterances_of(clips: Sequence[Clip]) -> tuple[Utterance, ...]:
    """Clips as utterances, all spoken.

    Args:
        clips: the clips.

    Returns:
        An utterance for each.
    """
    return tuple(Utterance(c.name, c.spoken) for c in clips)
