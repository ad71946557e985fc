"""Directions of a word and of its controls, taken out of a run's stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.interventions.ablation.projection import Projection
from slm_lens.interventions.directions import (
    orthonormal,
    random_directions,
    text_subspace,
    word_directions,
)
from slm_lens.interventions.runs.measured_run import stream_at
from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import Site
from slm_lens.lens.model import SpeechTextModel


@dataclass(frozen=True, eq=False)
class Taken:
    """One set of directions, taken out in one layer.

    Attributes:
        site: where.
        directions: which, as tables name them.
        draw: number of the draw; None where nothing is drawn.
        n_directions: how many.
        removed: share of the squared norm of the states that they held.
        patch: the states without them.
    """

    site: Site
    directions: str
    draw: int | None
    n_directions: int
    removed: float
    patch: Patch


class Taker:
    """Takes out the directions of words, of text, and of their controls.

    Args:
        model: the model.
        at: where they are taken out, each in a run of its own.
        n_text_directions: leading directions of all text rows; 0 for none.
        n_draws: random subspaces for each word.
        seed: seed of the draws.
    """

    def __init__(
        self,
        model: SpeechTextModel,
        at: Sequence[Site],
        n_text_directions: int,
        n_draws: int,
        seed: int,
    ) -> None:
        self._model, self._at, self._n_draws, self._seed = model, tuple(at), n_draws, seed
        self._bases: dict[tuple[int, ...], Tensor] = {}
        self._text = text_subspace(model, n_text_directions) if n_text_directions else None

    def taken(
        self,
        runs: PatchedRuns,
        positions: Int[Tensor, " n"],
        word: tuple[int, int],
        tokens: tuple[int, ...],
        matched: Sequence[tuple[int, ...]],
    ) -> Iterator[list[Taken]]:
        """Everything that is taken out for one word.

        Args:
            runs: the run.
            positions: where in it.
            word: its utterance and its number, which the draws depend on.
            tokens: its token ids.
            matched: token ids of words of like frequency.

        Yields:
            For one site after the other the word, its controls, text and its controls.
        """
        true = self._basis(tokens)
        sets: list[tuple[str, int | None, Tensor]] = [("word", None, true)]
        sets += [("random", i, b) for i, b in self._random(len(true), word, 0)]
        sets += [("frequency_matched", i, self._basis(t)) for i, t in enumerate(matched)]
        if self._text is not None:
            sets += [("text", None, self._text)]
            sets += [("random_text", i, b) for i, b in self._random(len(self._text), word, 1)]
        for site in self._at:
            states = stream_at(runs, site, positions)
            taken = []
            for directions, draw, basis in sets:
                kept = Projection(site, basis).without(states)
                removed = 1 - kept.float().square().sum(1) / states.float().square().sum(1)
                patch = Patch(site, positions, kept)
                taken.append(
                    Taken(site, directions, draw, len(basis), removed.mean().item(), patch)
                )
            yield taken

    def _basis(self, tokens: tuple[int, ...]) -> Float[Tensor, "n d_model"]:
        if tokens not in self._bases:
            self._bases[tokens] = orthonormal(word_directions(self._model, tokens))
        return self._bases[tokens]

    def _random(
        self, n: int, word: tuple[int, int], which: int
    ) -> Iterator[tuple[int, Float[Tensor, "n d_model"]]]:
        d_model = self._model.cfg.d_model
        for draw in range(self._n_draws):
            entropy = np.random.SeedSequence([self._seed, *word, which, draw])
            seed = int(entropy.generate_state(1)[0])
            yield draw, orthonormal(random_directions(n, d_model, length=1.0, seed=seed))
