"""What the dictionaries are trained, tagged and tried on: clips spoken, written, and in both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.corpus.documents import MEAN_SPAN_WORDS, SPEECH_SHARE
from slm_lens.corpus.folder import encoded_clips
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import training_story
from slm_lens.organism.spoken_stories import speak_stories
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.spans import select_spoken_words
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import SpeechUnits
from slm_lens.studies.features.options import STORIES, FeaturesOptions

WRITTEN, MIXED = ", written", ", mixed"
_TRAINED_SHARE = 0.6
_FIRST_WRITTEN = 10_000  # stories from here on are written alone


@dataclass(frozen=True, eq=False)
class Documents:
    """Clips, each of them spoken, written and in both modalities, in the same order.

    Attributes:
        spoken: named after the clip.
        written: the same with ", written" behind the name.
        mixed: likewise, ", mixed"; for some purposes none.
    """

    spoken: tuple[Utterance, ...]
    written: tuple[Utterance, ...]
    mixed: tuple[Utterance, ...] = ()

    @property
    def all(self) -> tuple[Utterance, ...]:
        """All of them, those of one modality together."""
        return (*self.spoken, *self.written, *self.mixed)

    @property
    def pure(self) -> tuple[Utterance, ...]:
        """The spoken ones, then the written ones."""
        return (*self.spoken, *self.written)

    def part(self, start: int, end: int | None) -> "Documents":
        """Some of the clips."""
        return Documents(self.spoken[start:end], self.written[start:end], self.mixed[start:end])


@dataclass(frozen=True, eq=False)
class FeatureData:
    """Three sets of utterances without a clip in common.

    Attributes:
        train: what dictionaries are trained on, in any modality.
        tagging: what features are tagged and given words on.
        held_out: what explained variance, steering and examples are of.
    """

    train: tuple[Utterance, ...]
    tagging: Documents
    held_out: Documents


def feature_data(model: HookedSLM, options: FeaturesOptions) -> FeatureData:
    """Read, or speak, all of it.

    Args:
        model: turns sound and text into sequences.
        options: which data.

    Returns:
        The sets.

    Raises:
        ValueError: `train_on` and `data` are the same folder, or there are too few clips.
    """
    if options.train_on == options.data:
        raise ValueError(
            f"study features: got train_on={options.train_on!r} and the same for data, expected "
            "clips that the dictionaries have not seen for data."
        )
    held_out = documents_of(model, encoded_clips(model, options.data), options.seed)
    more: Sequence[Utterance] = ()
    if options.train_on == STORIES:
        told = documents_of(model, speak_stories(model, range(options.n_stories)), options.seed)
        more = [written_story(model, i) for i in range(options.n_written)]
    else:
        told = documents_of(model, encoded_clips(model, options.train_on), options.seed)
    n_train = int(_TRAINED_SHARE * len(told.spoken))
    if n_train < 2 or len(told.spoken) - n_train < 2 or len(held_out.spoken) < 2:
        raise ValueError(
            f"study features: got {len(told.spoken)} clips to train and tag on, and "
            f"{len(held_out.spoken)} held out, expected at least 5 and 2, and better hundreds."
        )
    train = (*told.part(0, n_train).all, *more)
    return FeatureData(train, told.part(n_train, None), held_out)


def documents_of(
    model: HookedSLM, clips: Iterable[tuple[str, SpeechUnits, Alignment]], seed: int
) -> Documents:
    """Clips as the model reads them: spoken, written, and with about half of the words spoken.

    Args:
        model: the model.
        clips: name, units and words of each.
        seed: of the choice of words that are spoken where both modalities are.

    Returns:
        Three documents for each.
    """
    spoken, written, mixed = [], [], []
    for number, (name, units, alignment) in enumerate(clips):
        text = " ".join(w.word for w in alignment)
        choice = select_spoken_words(
            len(alignment),
            mean_span_words=MEAN_SPAN_WORDS,
            speech_share=SPEECH_SHARE,
            generator=np.random.default_rng([seed, number]),
        )
        in_both = model.sequence_interleaved(units, alignment, spoken=choice)
        spoken.append(Utterance(name, model.sequence_from_units(units, alignment)))
        written.append(Utterance(name + WRITTEN, model.sequence_from_text(text)))
        mixed.append(Utterance(name + MIXED, in_both))
    return Documents(tuple(spoken), tuple(written), tuple(mixed))


def written_story(model: HookedSLM, number: int) -> Utterance:
    """A training story of the organism that is not spoken.

    Args:
        model: an organism.
        number: of the story.

    Returns:
        The story.
    """
    sentences = training_story(_FIRST_WRITTEN + number, spoken=False)
    sequence = model.sequence_from_text(" ".join(sentences))
    return Utterance(f"story {_FIRST_WRITTEN + number}{WRITTEN}", sequence)


def halves(documents: Documents, n_prompts: int) -> tuple[list[Utterance], list[Utterance]]:
    """Prompts: the first halves of some clips, spoken and written, by words.

    Args:
        documents: the clips.
        n_prompts: how many, the first ones.

    Returns:
        The spoken halves, which end where a word does, and the same words written.
    """
    spoken, written = [], []
    for heard, read in zip(documents.spoken, documents.written, strict=True):
        n_words = len(heard.sequence.words) // 2
        ends = [s.sequence.words[n_words - 1].end if n_words else 0 for s in (heard, read)]
        if min(ends) < 2:
            continue  # a clip of one word has no first half
        spoken.append(Utterance(heard.name, _until(heard.sequence, ends[0])))
        written.append(Utterance(read.name, _until(read.sequence, ends[1])))
    return spoken[:n_prompts], written[:n_prompts]


def _until(sequence: SpeechTextSequence, end: int) -> SpeechTextSequence:
    words = tuple(w for w in sequence.words if w.end <= end)
    return SpeechTextSequence(sequence.tokens[:end], sequence.kinds[:end], words)


def first_units(documents: Documents) -> dict[str, int]:
    """The token that each word's spoken form most often begins with.

    Args:
        documents: clips.

    Returns:
        Token id by word; of equally frequent ones the lowest.
    """
    counts: dict[str, dict[int, int]] = {}
    for one in documents.spoken:
        for w in one.sequence.words:
            if w.start < w.end:
                of_word = counts.setdefault(w.word, {})
                token = int(one.sequence.tokens[w.start])
                of_word[token] = of_word.get(token, 0) + 1
    return {w: min(of, key=lambda t, of=of: (-of[t], t)) for w, of in counts.items()}
