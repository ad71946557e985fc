"""The phases of one model over a set of utterances, with every control."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slm_lens._pictured import Pictured
from slm_lens.lens.grid_files import write_lens_grids
from slm_lens.lens.grid_result import LensGrid
from slm_lens.lens.lens_grid import lens_grid
from slm_lens.lens.states import Forward, choose_forward
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.lens.word_lens import WordLens, word_lens
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.measure import measure_phases
from slm_lens.phases.random_weights import random_weights
from slm_lens.phases.result import Phases, WordSelection
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import WordPolicy

_N_FOLLOWED = 24
"""Tokens besides the words whose ranks grids keep: what can be pinned in a report."""


@dataclass(frozen=True, eq=False)
class PhaseStudy(Pictured):
    """What was read, and what came of it.

    Attributes:
        words: one row for each utterance, word and layer.
        phases: curves, phase layers, intervals and controls.
        grids: what every layer says at every word of the first utterances; none if not asked for.
    """

    words: WordLens
    phases: Phases
    grids: tuple[LensGrid, ...] = ()

    def write(self, folder: Path) -> None:
        """Write the tables with their descriptions, and the grids if there are any.

        Each file appears in full or not at all.

        Args:
            folder: made if needed; earlier files are replaced.
        """
        self.words.write(folder)
        self.phases.write(folder)
        if self.grids:
            write_lens_grids(self.grids, folder)


def study_phases(
    model: HookedSLM,
    utterances: Sequence[Utterance],
    *,
    policy: WordPolicy | None = None,
    words: WordSelection = "content",
    function_words: frozenset[str] = ENGLISH_FUNCTION_WORDS,
    n_draws: int = 20,
    n_bootstrap: int = 2000,
    seed: int = 0,
    batch_size: int = 1,
    forward: Forward = "auto",
    lens: TunedLens | None = None,
    n_grids: int = 0,
) -> PhaseStudy:
    """Read every spoken word at every layer, and find the phases.

    Args:
        model: the model.
        utterances: spoken utterances with word times, at least two.
        policy: which tokens count as a word, see `SpeechTextVocab.word_tokens`; None for the
            model's own `word_policy`.
        words: which words count; see `measure_phases`.
        function_words: lower-case words that are not content words.
        n_draws: control words for each word and kind of control.
        n_bootstrap: resamples of utterances.
        seed: seed of control draws, resamples and random weights.
        batch_size: utterances in one forward pass.
        forward: which forward pass gives the states, as in `residual_stack`; the same one for the
            control.
        lens: what to read through; None for the logit lens.
        n_grids: of how many utterances, the first ones, lens grids are kept, for a report.

    Returns:
        The word table and the phases. With the logit lens, the same model with random weights is
        among the controls; a lens that was fitted to this model says nothing about that one.

    Raises:
        VocabError: the model has no text tokens to read words in.

    Source:
        Ours, after Sternberg et al. 2026, arXiv:2606.22473.
    """  # noqa: DOC502 (raised by require_text)
    model.vocab.require_text("study_phases", model.provenance.model_and_family)
    untrained_model = random_weights(model, seed=seed) if lens is None else None
    # One choice for both, since a control that was read otherwise is none.
    read_models = [m for m in (model, untrained_model) if m is not None]
    choices = {choose_forward(m, forward, "study_phases") for m in read_models}
    used = "hooked" if "hooked" in choices else "fast"

    def read(of: HookedSLM, lens: TunedLens | None = None) -> WordLens:
        return word_lens(
            of,
            utterances,
            function_words=function_words,
            policy=model.word_policy if policy is None else policy,
            n_draws=n_draws,
            seed=seed,
            batch_size=batch_size,
            forward=used,
            lens=lens,
        )

    table = read(model, lens)
    controls = {} if untrained_model is None else {"random weights": read(untrained_model)}
    phases = measure_phases(
        table,
        words=words,
        n_bootstrap=n_bootstrap,
        seed=seed,
        controls=controls,
    )
    grids = tuple(
        lens_grid(
            model,
            utterance,
            policy=table.policy,
            positions=not any(w.start < w.end for w in utterance.sequence.words),
            n_follow=_N_FOLLOWED,
            forward=used,
            lens=lens,
        )
        for utterance in utterances[:n_grids]
    )
    return PhaseStudy(table, phases, grids)
