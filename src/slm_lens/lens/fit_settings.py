"""How a tuned lens is fitted, and when its fit has come to an end."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Literal, get_args

FitPositions = Literal["speech", "text", "all"]
FIT_POSITIONS: tuple[FitPositions, ...] = get_args(FitPositions)


@dataclass(frozen=True)
class FitSettings:
    """How a tuned lens is fitted.

    Attributes:
        positions: modality of the positions at which it is fitted.
        n_steps: steps of the optimiser, at most.
        batch_size: sequences a step.
        learning_rate: of Adam at the start; it falls to 0 in a straight line over `n_steps`.
        weight_decay: pulls the translators to the identity.
        clip: largest norm of the gradient of all layers together.
        chunk_positions: positions whose logits are held at once.
        seed: of the order of sequences that are in memory.
        evaluate_every: steps between two evaluations on held-out sequences.
        patience: evaluations in a row without improvement after which the fit stops; None never
            stops it early.
        min_improvement: what counts as one: a held-out KL lower than the best so far by this share
            of it.
    """

    positions: FitPositions = "all"
    n_steps: int = 250
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    chunk_positions: int = 512
    seed: int = 0
    evaluate_every: int = 50
    patience: int | None = None
    min_improvement: float = 0.01


def stalled(evaluations: Sequence[tuple[int, float]], settings: FitSettings) -> bool:
    """Whether the last evaluations brought no improvement.

    Args:
        evaluations: (steps done, held-out KL in nats), in order.
        settings: patience and least improvement.

    Returns:
        True if ``patience`` evaluations in a row were not lower than the best before each of them
        by the share ``min_improvement``.
    """
    best, in_vain = float("inf"), 0
    for _, kl_nats in evaluations:
        improved = kl_nats < best * (1 - settings.min_improvement)
        best, in_vain = (kl_nats, 0) if improved else (best, in_vain + 1)
    return settings.patience is not None and in_vain >= settings.patience


def check_fit(
    sequences: object, settings: FitSettings, held_out: Sequence[object], checkpoint_every: int
) -> None:
    """Refuse what cannot be fitted.

    Args:
        sequences: what to fit on.
        settings: how.
        held_out: what to evaluate on.
        checkpoint_every: steps between two states.

    Raises:
        ValueError: no sequence, a setting out of range, or patience without held-out sequences.
    """
    if isinstance(sequences, Sized) and not len(sequences):
        raise ValueError("fit_tuned_lens: got no sequence, expected at least one.")
    counts = (
        settings.n_steps,
        settings.batch_size,
        settings.chunk_positions,
        settings.evaluate_every,
        1 if settings.patience is None else settings.patience,
        checkpoint_every,
    )
    rates = (settings.learning_rate, settings.clip)
    shares_ok = settings.weight_decay >= 0 and 0 <= settings.min_improvement < 1
    if min(counts) < 1 or not min(rates) > 0 or not shares_ok:
        raise ValueError(
            f"fit_tuned_lens: got {settings} and checkpoint_every={checkpoint_every}, expected "
            "counts of at least 1, a learning rate and clip above 0, weight_decay >= 0, and "
            "min_improvement from 0 to below 1."
        )
    if settings.positions not in FIT_POSITIONS:
        raise ValueError(
            f"fit_tuned_lens: got positions={settings.positions!r}, expected one of "
            f"{FIT_POSITIONS}."
        )
    if settings.patience is not None and not held_out:
        raise ValueError(
            f"fit_tuned_lens: got patience={settings.patience} without held-out sequences, "
            "expected some to evaluate on. Pass `held_out`, or patience=None."
        )
