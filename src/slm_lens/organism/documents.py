"""Training documents: written, spoken, mixed, and (for the control) spoken then written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from slm_lens.organism.corpus import SpokenStory, training_story
from slm_lens.organism.language import WORDS
from slm_lens.sequence.spans import select_spoken_words

DocumentKind = Literal["text", "interleaved", "speech", "transcribed"]
DOCUMENT_KINDS: tuple[DocumentKind, ...] = get_args(DocumentKind)

NO_WORD = -100
"""Marks positions without a word; cross-entropy leaves them out."""

_FUNCTION_WORDS = frozenset(WORDS["function"])
N_WRITTEN_STORIES = 20_000


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
    spelled_share: float = 0.0
    mean_span_words: float = 2.0
    speech_share: float = 0.5
    marked_share: float = 0.5

    @property
    def weights(self) -> Float[np.ndarray, " 4"]:
        """Probability of each of `DOCUMENT_KINDS`."""
        raw = np.array([self.text, self.interleaved, self.speech, self.transcribed])
        return raw / raw.sum()


@dataclass
class Document:
    """A document while it is written.

    Attributes:
        tokens: token ids.
        spoken_words: the written form of the word that is spoken at a position, `NO_WORD` where
            none is.
    """

    tokens: list[int] = field(default_factory=list)
    spoken_words: list[int] = field(default_factory=list)

    def add(self, tokens: Sequence[int], spoken_words: Sequence[int] | None = None) -> None:
        """Append tokens.

        Args:
            tokens: token ids.
            spoken_words: the word at each; None for none.
        """
        self.tokens += tokens
        self.spoken_words += [NO_WORD] * len(tokens) if spoken_words is None else spoken_words


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
            w: [ids[f" {w[0]}"], *(ids[c] for c in w[1:])] for kind in WORDS.values() for w in kind
        }
        self._speech, self._text = ids.get("<speech>", -1), ids.get("<text>", -1)
        self._first_unit = ids.get("<Un0>", -1)

    def rows(
        self, mixture: Mixture, n_rows: int, n_positions: int, generator: np.random.Generator
    ) -> tuple[Int[Tensor, "n_rows n_positions"], Int[Tensor, "n_rows n_positions"]]:
        """Documents packed end to end; every row begins with a new document.

        Args:
            mixture: which documents.
            n_rows: rows of the batch.
            n_positions: tokens in a row; the last document of a row is cut.
            generator: source of randomness.

        Returns:
            Token ids without padding; and for the later half of each spoken word's positions the
            token id of the written word, `NO_WORD` elsewhere.
        """
        rows = np.empty((2, n_rows, n_positions), dtype=np.int64)
        for r in range(n_rows):
            tokens: list[int] = []
            words: list[int] = []
            while len(tokens) < n_positions:
                document = self.document(mixture, generator)
                tokens += [*document.tokens, self._eos]
                words += [*document.spoken_words, NO_WORD]
            rows[0, r], rows[1, r] = tokens[:n_positions], words[:n_positions]
        return torch.from_numpy(rows[0]), torch.from_numpy(rows[1])

    def document(self, mixture: Mixture, generator: np.random.Generator) -> "Document":
        """One document without its end token.

        Args:
            mixture: which documents.
            generator: source of randomness.

        Returns:
            The document.
        """
        kind = DOCUMENT_KINDS[generator.choice(len(DOCUMENT_KINDS), p=mixture.weights)]
        marked = self._text >= 0 and generator.random() < mixture.marked_share
        document = Document()
        if kind == "text":
            index = int(generator.integers(N_WRITTEN_STORIES))
            words = " ".join(training_story(index, spoken=False)).split()
            document.add([self._text] * marked)
            document.add(self._written(words, mixture, generator))
            return document
        story = self.stories[int(generator.integers(len(self.stories)))]
        if kind == "interleaved":
            self._interleave(document, story, mixture, generator)
            return document
        document.add([self._speech] * (marked or kind == "transcribed"))
        self._speak(document, story, 0, len(story.words))
        if kind == "transcribed":
            document.add([self._text, *(self._word[w] for w in story.words)])
        return document

    def _interleave(
        self,
        document: "Document",
        story: SpokenStory,
        mixture: Mixture,
        generator: np.random.Generator,
    ) -> None:
        spoken = select_spoken_words(
            len(story.words),
            mean_span_words=mixture.mean_span_words,
            speech_share=mixture.speech_share,
            generator=generator,
        )
        start = 0
        for is_spoken, run in groupby(spoken):
            end = start + len(list(run))
            if is_spoken:
                document.add([self._speech])
                self._speak(document, story, start, end)
            else:
                written = self._written(story.words[start:end], mixture, generator)
                document.add([self._text, *written])
            start = end

    def _speak(self, document: "Document", story: SpokenStory, start: int, end: int) -> None:
        first, last = story.spans[start][0], story.spans[end - 1][1]
        tokens = (story.units[first:last].astype(np.int64) + self._first_unit).tolist()
        words = [NO_WORD] * len(tokens)
        for word, (a, b) in zip(story.words[start:end], story.spans[start:end], strict=True):
            for position in range((a + b) // 2, b):
                words[position - first] = self._word[word]
        document.add(tokens, words)

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
