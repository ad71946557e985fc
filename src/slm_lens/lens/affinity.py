"""Affinity: how far a state is on the side of what is heard, or of what the model itself will say.

The affinity of a layer at a position to a set of tokens is the probability that the logit lens
gives to the set there, ``sum_v softmax(W_U . ln_final(h))_v`` over the tokens ``v`` of the set.
With the word that is heard it is *perception*, with the word or unit that the model is about to
give it is *generation*. Where the model turns from one to the other, `lag` counts for how many
positions generation is still ahead: the inertia of the state.

Source: Chang et al. 2026, arXiv:2606.11386, Eqs. 4 and 5, of models with a stream for each side;
sets of tokens, softmax within text, and counting positions for each switch are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.logit_lens import LogitLens
from slm_lens.readout.wanted import target_sets

NEVER = np.inf
"""Lag of a switch behind which perception never gets ahead."""

_ABSENT = torch.nan


@dataclass(frozen=True, eq=False)
class Affinity:
    """Probabilities of sets of tokens at layers and positions.

    Attributes:
        of: by subset of the vocabulary that the softmax runs over; NaN where a set is empty or has
            a token outside the subset.
        mass: probability of all of text under the softmax over everything; NaN without text.
    """

    of: Mapping[str, Float[Tensor, "layer pos n_sets"]]
    mass: Float[Tensor, "layer pos"]


def affinity(
    lens: LogitLens,
    states: Float[Tensor, "layer pos d_model"],
    targets: Sequence[Sequence[Sequence[int]]],
    *,
    within: Sequence[str] = ("text", "full"),
) -> Affinity:
    """Lens probabilities of sets of tokens, each position with its own.

    Logits exist a tile at a time, never as ``[layer, pos, d_vocab]``.

    ::

        stack = slm_lens.residual_stack(model, sequence.tokens[None])[:, 0]
        heard = [[model.vocab.word_tokens("zebra", "first_piece")]] * len(sequence)
        slm_lens.affinity(LogitLens(model), stack, heard).of["text"][..., 0]  # [layer, pos]

    Args:
        lens: the model's lens.
        states: residual stream of some layers at some positions.
        targets: for each position its sets of token ids, as many sets at every position; a set may
            be empty.
        within: subsets of the vocabulary: ``"text"``, ``"speech"``, ``"full"``.

    Returns:
        Probabilities, in [0, 1], float32, on the CPU.

    Raises:
        ValueError: as many sets are not at every position, there is no position, a token lies
            outside the vocabulary, or there is no such subset.

    Source:
        Chang et al. 2026, arXiv:2606.11386, Eqs. 4 and 5.
    """
    if len(targets) != states.shape[1]:
        raise ValueError(
            f"affinity: got targets of {len(targets)} positions and states of {states.shape[1]}, "
            "expected sets for each position. An empty set stands for none."
        )
    sets = target_sets(targets)
    n_positions, n_sets, n_tokens = sets.shape
    of_layers = sets.view(1, n_positions, n_sets * n_tokens).expand(len(states), -1, -1)
    read = lens.readout(states, "log_prob", "mass", targets=of_layers, within=within)
    given = (sets >= 0).view(1, n_positions, n_sets, n_tokens)
    found = {}
    for name, log_prob in read.log_prob.items():
        shares = log_prob.float().cpu().exp().view(-1, n_positions, n_sets, n_tokens)
        summed = shares.where(given, 0.0).sum(-1)  # NaN stays where a token is outside the subset
        found[name] = summed.where(given.any(-1), _ABSENT)
    mass = read.mass.get("text", torch.full(states.shape[:2], _ABSENT))
    return Affinity(found, mass.float().cpu())


def lag(
    perception: Float[np.ndarray, "switch pos"],
    generation: Float[np.ndarray, "switch pos"],
    *,
    hold: int = 1,
) -> Float[np.ndarray, " switch"]:
    """For how many positions after a switch generation is not behind perception.

    Args:
        perception: affinity to what is heard, from the first position after the switch on; NaN
            behind the last one.
        generation: affinity to what the model was about to say, likewise.
        hold: at how many positions in a row perception has to be ahead; fewer do at the end of a
            run that ends so.

    Returns:
        Positions before perception is ahead: 0 if it is from the first one on; `NEVER` if it
        never is; NaN for a switch without any position.

    Raises:
        ValueError: the shapes differ, or `hold` is below 1.

    Source:
        Ours; the inertia of Chang et al. 2026, arXiv:2606.11386, is read off mean curves.
    """
    if perception.shape != generation.shape or hold < 1:
        raise ValueError(
            f"lag: got affinities of shapes {perception.shape} and {generation.shape} and "
            f"hold={hold}, expected [switch, pos] twice, and hold >= 1."
        )
    known = ~(np.isnan(perception) | np.isnan(generation))
    behind = known & ~(perception > generation)
    holds = known.copy()
    for step in range(
        min(hold, known.shape[1])
    ):  # not behind at this position, nor at the next ones that are known
        holds[:, : holds.shape[1] - step] &= ~behind[:, step:]
    first = np.where(holds.any(1), holds.argmax(1), NEVER).astype(np.float64)
    return np.where(known.any(1), first, np.nan)


def heard_seconds(
    lags: Float[np.ndarray, " switch"], ends_s: Float[np.ndarray, "switch pos"]
) -> Float[np.ndarray, " switch"]:
    """How much sound lies in a lag.

    Args:
        lags: positions, as `lag` gives them.
        ends_s: for each position after the switch the seconds from its start to the end of what
            sounds there; NaN behind the last one.

    Returns:
        Seconds; 0 for no position, `NEVER` and NaN as they are.
    """
    from_start = np.concatenate([np.zeros((len(ends_s), 1)), ends_s], axis=1)
    whole: Int[np.ndarray, " switch"] = np.where(np.isfinite(lags), lags, 0).astype(np.int64)
    return np.where(np.isfinite(lags), from_start[np.arange(len(lags)), whole], lags)
