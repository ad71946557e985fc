"""What the study reads of one model: its phases, and the highest tokens at every word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from slm_lens.lens.grid_result import GridSite, LensGrid
from slm_lens.lens.lens_grid import lens_grid
from slm_lens.lens.word_lens import WordLens
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.result import Phases
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS, word_type
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.phase_study import study_phases
from slm_lens.studies.phases.options import PhasesAcrossOptions
from slm_lens.vocab import SpeechTextVocab, WordPolicy

KS = (1, 5, 10)
"""Ranks that count as a hit."""


@dataclass(frozen=True, eq=False)
class SpokenWords:
    """Every spoken word with a position, and the highest tokens there.

    Attributes:
        utterance: name of each word's utterance.
        word_index: index among the utterance's words.
        spelled: the word as written.
        words: its type, in lower case.
        next_words: type of the word that follows; None for the last.
        spellings: how each type is written, also of words that only follow.
        counts: whether it counts as a current word.
        next_counts: whether the word that follows counts as a next word.
        n_positions: positions that carry it.
        top: highest tokens by site and subset of the vocabulary, -1 where there are fewer.
        probability: of the highest text token (logits pooled by maximum), within text.
    """

    utterance: tuple[str, ...]
    word_index: tuple[int, ...]
    spelled: tuple[str, ...]
    words: tuple[str, ...]
    next_words: tuple[str | None, ...]
    spellings: Mapping[str, tuple[str, ...]]
    counts: Bool[np.ndarray, " n_words"]
    next_counts: Bool[np.ndarray, " n_words"]
    n_positions: tuple[int, ...]
    top: dict[tuple[GridSite, str], Int[np.ndarray, "n_words layer k"]]
    probability: Float[np.ndarray, "n_words layer"]

    def tokens(self, vocab: SpeechTextVocab, policy: WordPolicy) -> dict[str, tuple[int, ...]]:
        """Tokens that count as each word, in any of its spellings.

        Args:
            vocab: the vocabulary.
            policy: which tokens count.

        Returns:
            Sorted ids by type.
        """
        found = {w: (vocab.word_tokens(s, policy) for s in of) for w, of in self.spellings.items()}
        return {w: tuple(sorted({t for ids in each for t in ids})) for w, each in found.items()}

    def utterances(self) -> Int[np.ndarray, " n_words"]:
        """Number of each word's utterance.

        Returns:
            Numbers from 0.
        """
        return np.unique(self.utterance, return_inverse=True)[1]


@dataclass(frozen=True, eq=False)
class Reading:
    """One model, read.

    Attributes:
        model: the model.
        table: its word table.
        phases: curves, phase layers and controls.
        spoken: words with the highest tokens.
    """

    model: HookedSLM
    table: WordLens
    phases: Phases
    spoken: SpokenWords

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.phases.model


def read_model(
    model: HookedSLM, utterances: Sequence[Utterance], options: PhasesAcrossOptions
) -> Reading:
    """Read a model.

    Args:
        model: the model.
        utterances: what it hears.
        options: of the study.

    Returns:
        What was read.
    """
    study = study_phases(
        model,
        utterances,
        words=options.words,
        n_draws=options.n_draws,
        n_bootstrap=options.n_bootstrap,
        seed=options.seed,
    )
    return Reading(
        model, study.words, study.phases, read_words(model, utterances, study.words, options)
    )


def read_words(
    model: HookedSLM,
    utterances: Sequence[Utterance],
    table: WordLens,
    options: PhasesAcrossOptions,
) -> SpokenWords:
    """The highest tokens at every spoken word.

    Args:
        model: the model.
        utterances: what it hears.
        table: its word table, which is read by the same policy and forward pass.
        options: of the study.

    Returns:
        Words in the order of the table.
    """
    grids = [
        lens_grid(
            model,
            u,
            policy=table.policy,
            k=max(KS),
            positions=False,
            n_follow=0,
            forward=table.provenance.forward,
        )
        for u in utterances
        if _spoken(u)
    ]
    return _words(grids, options)


def _spoken(utterance: Utterance) -> bool:
    return any(w.modality == "speech" and w.start < w.end for w in utterance.sequence.words)


def _words(grids: Sequence[LensGrid], options: PhasesAcrossOptions) -> SpokenWords:
    rows, columns = [], dict[tuple[GridSite, str], list[np.ndarray]]()
    log_prob = []
    for grid in grids:
        kept = []
        for row, i in enumerate(grid.cells["max"].words):
            assert i is not None, "a row without a word"
            if grid.words[i].modality == "speech":
                kept.append(row)
                after = grid.words[i + 1].word if i + 1 < len(grid.words) else None
                rows.append((grid.utterance, i, grid.words[i], after))
        log_prob.append(grid.cells["max"].top_log_prob["text"][:, kept, 0].T.numpy())
        for site in ("max", "last"):
            for subset, ids in grid.cells[site].top_ids.items():
                columns.setdefault((site, subset), []).append(ids[:, kept].transpose(0, 1).numpy())
    spellings: dict[str, set[str]] = {}
    for written in (w for _, _, span, after in rows for w in (span.word, after)):
        if written is not None:
            spellings.setdefault(word_type(written), set()).add(written)
    following = tuple(None if after is None else word_type(after) for *_, after in rows)
    words = tuple(word_type(w.word) for _, _, w, _ in rows)

    def count(one: str | None) -> bool:
        return bool(one) and (options.words == "all" or one not in ENGLISH_FUNCTION_WORDS)

    return SpokenWords(
        utterance=tuple(name for name, *_ in rows),
        word_index=tuple(i for _, i, *_ in rows),
        spelled=tuple(w.word for _, _, w, _ in rows),
        words=words,
        next_words=following,
        spellings={w: tuple(sorted(s)) for w, s in spellings.items()},
        counts=np.array([count(w) for w in words]),
        next_counts=np.array([count(w) for w in following]),
        n_positions=tuple(w.end - w.start for _, _, w, _ in rows),
        probability=np.exp(np.concatenate(log_prob).astype(np.float64)),
        top={key: np.concatenate(parts) for key, parts in columns.items()},
    )
