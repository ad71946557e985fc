"""What a fitted lens is besides its numbers, and how that is read again."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from slm_lens._json import read_json_object
from slm_lens.lens.fit_settings import FIT_POSITIONS, FitPositions, FitSettings

SOURCES = ("slm-lens", "tuned-lens", "jacobian")
"""Where a lens may come from: fitted here, by the tuned-lens package, or from Jacobians."""


@dataclass(frozen=True)
class TunedLensFacts:
    """What a tuned lens is besides its numbers.

    Attributes:
        positions: modality of the positions at which it was fitted.
        n_steps: steps of the fit; 0 for the logit lens; sequences of a Jacobian lens.
        n_positions: positions that the fit saw.
        unembedding: hash of what it reads through (`unembedding_hash`).
        source: where it comes from: "slm-lens", "tuned-lens" (the package), or "jacobian".
        settings: how it was fitted; None if that is not known, or it was not.
        evaluations: (steps done, mean KL in nats over the middle layers on held-out sequences).
        forward: which forward pass gave the states that it was fitted on, as in `Provenance`; None
            where that is not known, or nothing was fitted.
        attention: their attention kernel; likewise.
    """

    positions: FitPositions
    n_steps: int
    n_positions: int
    unembedding: str
    source: str = "slm-lens"
    settings: FitSettings | None = None
    evaluations: tuple[tuple[int, float], ...] = ()
    forward: str | None = None
    attention: str | None = None


def read_lens_facts(path: Path) -> TunedLensFacts:
    """Read the facts that `TunedLens.save` wrote.

    Args:
        path: ``tuned_lens.json``.

    Returns:
        The facts.

    Raises:
        ValueError: they are of another version.
    """
    read: dict[str, Any] = read_json_object(path)
    names = sorted(f.name for f in fields(TunedLensFacts))
    wanted = sorted(f.name for f in fields(FitSettings))
    settings: dict[str, Any] | None = read.get("settings")
    if sorted(read) != names or (settings is not None and sorted(settings) != wanted):
        raise ValueError(
            f"load_tuned_lens: {path} has the facts {sorted(read)} with settings {settings}, "
            f"expected {names} with {wanted}. It was written by another version of slm-lens: fit "
            "the lens again."
        )
    known = read["positions"] in FIT_POSITIONS and read["source"] in SOURCES
    try:
        read["settings"] = None if settings is None else FitSettings(**settings)
        read["evaluations"] = tuple((int(step), float(kl)) for step, kl in read["evaluations"])
        known = known and isinstance(read["unembedding"], str)
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"load_tuned_lens: {path} holds {read}, expected positions out of {FIT_POSITIONS}, a "
            f"source out of {SOURCES}, a hash, and pairs of evaluations. Was it edited?"
        )
    return TunedLensFacts(**read)
