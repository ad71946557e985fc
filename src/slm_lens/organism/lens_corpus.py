"""The organism's own language as a stream to fit a lens on, without end and of little memory."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import SpokenStory, build_corpus
from slm_lens.organism.documents import DocumentWriter, Mixture
from slm_lens.organism.language import vocabulary
from slm_lens.organism.recipe import ORGANISM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.vocab import TOKEN_KINDS


def lens_corpus(model: HookedSLM, path: Path, n_stories: int, *, n_workers: int = 1) -> "Documents":
    """Training stories, spoken if they are not yet, as documents for a fit.

    Args:
        model: an organism.
        path: the ``.npz`` that keeps the spoken stories.
        n_stories: how many stories; none has a sentence of a held-out one.
        n_workers: processes that speak.

    Returns:
        A stream of as many documents a pass, for `slm_lens.fit_tuned_lens`.

    Raises:
        ValueError: the model does not know the organism's words or units.
    """
    known = model.tokenizer.get_vocab() if model.tokenizer is not None else {}
    unknown = [w for w in vocabulary() if f" {w}" not in known]
    tokenizer = model.unit_tokenizer if hasattr(model, "unit_tokenizer") else None
    if unknown or not isinstance(tokenizer, MfccKMeans):
        raise ValueError(
            f"lens_corpus: {model.provenance.model_and_family} has no tokens for {unknown[:4]} and "
            f"the unit tokenizer {type(tokenizer).__name__}, expected an organism, with its words "
            "and MfccKMeans. Fit other models on a folder of clips."
        )
    return documents(model, build_corpus(path, tokenizer, n_stories, n_workers=n_workers))


Documents = Callable[[int], Iterator[SpeechTextSequence]]


def documents(
    model: HookedSLM,
    stories: Sequence[SpokenStory],
    *,
    mixture: Mixture = ORGANISM.stages[-1].mixture,
    seed: int = 0,
) -> Documents:
    """Spoken, written and interleaved documents, as in the organism's training.

    Args:
        model: an organism.
        stories: the spoken stories.
        mixture: how documents are drawn.
        seed: of the draws.

    Returns:
        Gives the documents of a pass, as many as stories; others in every pass, which follow from
        the seed and the number of the pass alone.
    """
    writer = DocumentWriter(model.tokenizer, stories)
    kind_of = model.vocab.kind_of

    def one_pass(number: int) -> Iterator[SpeechTextSequence]:
        generator = np.random.default_rng([seed, number])
        for _ in stories:
            tokens = torch.tensor(writer.document(mixture, generator).tokens)
            kinds = tuple(TOKEN_KINDS[k] for k in kind_of[tokens].tolist())
            yield SpeechTextSequence(tokens, kinds, ())

    return one_pass
