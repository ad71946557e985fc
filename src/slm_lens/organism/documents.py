"""Training documents: written, spoken, mixed, and (for the control) spoken then written."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from slm_lens.organism.corpus import SpokenStory, training_story
from slm_lens.organism.language import WORDS
from slm_lens.sequence.spans import select_spoken_words

DocumentKind = Literal["text", "interleaved", "speech", "transcribed"]
DOCUMENT_KINDS: tuple[DocumentKind, ...] = get_args(DocumentKind)

_FUNCTION_WORDS = frozenset(WORDS["function"])
_N_WRITTEN_STORIES = 20_000


@dataclass(frozen=True)
class Mixture:
    """How training documents are drawn.

    Attributes:
        text: share of written documents; the shares count documents and need not sum to 1.
        interleaved: share of documents that switch between speech and text at words.
        speech: share of spoken documents.
        transcribed: share of spoken documents followed by their own text. Supervised
            transcription: for the positive control only.
        spelled_share: share of content words that are written letter by letter.
        mean_span_words: mean length of a spoken run in interleaved documents.
        speech_share: share of words spoken in interleaved documents.
        marked_share: share of one-modality documents that begin with their marker.
    """

    text: float = 1.0
    interleaved: float = 0.0
    speech: float = 0.0
    transcribed: float = 0.0
    spelled_share: float = 0.3
    mean_span_words: float = 2.0
    speech_share: float = 0.5
    marked_share: float = 0.5

    @property
    def weights(self) -> Int[np.ndarray, " 4"]:
        """Probability of each of `DOCUMENT_KINDS`."""
        raw = np.array([self.text, self.interleaved, self.speech, self.transcribed])
        return raw / raw.sum()


class DocumentWriter:
    """Writes training documents as token ids.

    Attributes:
        stories: the spoken corpus; may be empty when the mixture is text alone.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stories: Sequence[SpokenStory]) -> None:
        ids = tokenizer.get_vocab()
        self.stories = stories
        self._eos = ids["<eos>"]
        self._word = {w: ids[f" {w}"] for kind in WORDS.values() for w in kind}
        self._spelled = {
            w: [ids[f" {w[0]}"], *(ids[c] for c in w[1:])]
            for kind in WORDS.values()
            for w in kind
        }
        self._speech, self._text = ids.get("<speech>", -1), ids.get("<text>", -1)
        self._first_unit = ids.get("<Un0>", -1)

    def rows(
        self, mixture: Mixture, n_rows: int, n_positions: int, generator: np.random.Generator
    ) -> Int[Tensor, "n_rows n_positions"]:
        """Documents packed end to end; every row begins with a new document.

        Args:
            mixture: which documents.
            n_rows: rows of the batch.
            n_positions: tokens in a row; the last document of a row is cut.
            generator: source of randomness.

        Returns:
            Token ids without padding.
        """
        rows = np.empty((n_rows, n_positions), dtype=np.int64)
        for row in rows:
            tokens: list[int] = []
            while len(tokens) < n_positions:
                tokens += [*self.document(mixture, generator), self._eos]
            row[:] = tokens[:n_positions]
        return torch.from_numpy(rows)

    def document(self, mixture: Mixture, generator: np.random.Generator) -> list[int]:
        """One document without its end token.

        Args:
            mixture: which documents.
            generator: source of randomness.

        Returns:
            Token ids.
        """
        kind = DOCUMENT_KINDS[generator.choice(len(DOCUMENT_KINDS), p=mixture.weights)]
        marked = self._text >= 0 and generator.random() < mixture.marked_share
        if kind == "text":
            index = int(generator.integers(_N_WRITTEN_STORIES))
            words = " ".join(training_story(index, spoken=False)).split()
            return [self._text] * marked + self._written(words, mixture, generator)
        story = self.stories[generator.integers(len(self.stories))]
        if kind == "speech":
            return [self._speech] * marked + self._spoken(story, 0, len(story.words))
        if kind == "transcribed":
            spoken = self._spoken(story, 0, len(story.words))
            written = [self._word[w] for w in story.words]
            return [self._speech, *spoken, self._text, *written]
        return self._interleaved(story, mixture, generator)

    def _interleaved(
        self, story: SpokenStory, mixture: Mixture, generator: np.random.Generator
    ) -> list[int]:
        spoken = select_spoken_words(
            len(story.words),
            mean_span_words=mixture.mean_span_words,
            speech_share=mixture.speech_share,
            generator=generator,
        )
        tokens: list[int] = []
        start = 0
        for is_spoken, run in groupby(spoken):
            end = start + len(list(run))
            if is_spoken:
                tokens += [self._speech, *self._spoken(story, start, end)]
            else:
                written = self._written(story.words[start:end], mixture, generator)
                tokens += [self._text, *written]
            start = end
        return tokens

    def _spoken(self, story: SpokenStory, start: int, end: int) -> list[int]:
        units = story.units[story.spans[start][0] : story.spans[end - 1][1]]
        return (units.astype(np.int64) + self._first_unit).tolist()

    def _written(
        self, words: Sequence[str], mixture: Mixture, generator: np.random.Generator
    ) -> list[int]:
        draws = generator.random(len(words))
        tokens: list[int] = []
        for word, draw in zip(words, draws, strict=True):
            if draw < mixture.spelled_share and word not in _FUNCTION_WORDS:
                tokens += self._spelled[word]
            else:
                tokens.append(self._word[word])
        return tokens
