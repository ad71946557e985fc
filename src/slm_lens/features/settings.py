"""How a sparse autoencoder is trained."""

from dataclasses import dataclass
from typing import Literal, get_args

Architecture = Literal["batch_topk", "jumprelu"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)


@dataclass(frozen=True)
class SAESettings:
    """How a sparse autoencoder is trained.

    States are scaled to a mean squared norm of 1 for the training; thresholds, bandwidth and losses
    are in that scale.

    Attributes:
        architecture: ``"batch_topk"`` or ``"jumprelu"``.
        d_sae: features.
        k: active features for each state, on average: what BatchTopK keeps, and what the penalty of
            JumpReLU aims at.
        n_steps: steps of Adam.
        batch_size: states a step.
        learning_rate: after a warm-up of a twentieth of the steps; falls to 0 in a straight line
            over the last fifth.
        dead_after: states in a row without activity after which a feature counts as dead, for the
            auxiliary loss (BatchTopK).
        aux_coefficient: weight of the auxiliary loss, in which dead features reconstruct what the
            others leave over (BatchTopK).
        l0_coefficient: weight of ``(L0 / k - 1) ** 2``, which grows from 0 over the first quarter
            of the steps (JumpReLU).
        bandwidth: of the kernel that estimates gradients of thresholds (JumpReLU).
        initial_threshold: of every feature (JumpReLU).
        seed: of the weights and of the order of the states.

    Source:
        Ours, with values for some 10,000 states; the literature trains on 10^8 and more.
    """

    architecture: Architecture = "batch_topk"
    d_sae: int = 512
    k: float = 8.0
    n_steps: int = 1500
    batch_size: int = 512
    learning_rate: float = 3e-3
    dead_after: int = 10_000
    aux_coefficient: float = 1 / 32
    l0_coefficient: float = 0.3
    bandwidth: float = 0.05
    initial_threshold: float = 0.05
    seed: int = 0


def check_settings(settings: SAESettings, n_states: int) -> None:
    """Refuse what cannot be trained.

    Args:
        settings: how.
        n_states: how many states there are.

    Raises:
        ValueError: too few states, or a setting out of range.
    """
    counts = (settings.d_sae, settings.n_steps, settings.batch_size, settings.dead_after)
    rates = (settings.learning_rate, settings.bandwidth, settings.initial_threshold)
    weights = (settings.aux_coefficient, settings.l0_coefficient)
    in_range = min(counts) >= 1 and min(rates) > 0 and min(weights) >= 0
    if settings.architecture not in ARCHITECTURES or not in_range:
        raise ValueError(
            f"train_sae: got {settings}, expected an architecture out of {ARCHITECTURES}, counts "
            "of at least 1, a learning rate, bandwidth and threshold above 0, and no coefficient "
            "below 0."
        )
    if not 1 <= settings.k <= settings.d_sae:
        raise ValueError(
            f"train_sae: got k={settings.k} of d_sae={settings.d_sae} features, expected 1 to "
            f"{settings.d_sae}. In the literature k is a few dozen of thousands."
        )
    if n_states < settings.batch_size:
        raise ValueError(
            f"train_sae: got {n_states} states for batches of {settings.batch_size}, expected at "
            "least one batch. Read more utterances, or take a smaller batch_size."
        )
