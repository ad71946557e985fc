"""The runs between corrupted and clean embeddings that integrated gradients average over.

Sundararajan et al. 2017 (arXiv:1703.01365, equation 3) take the steps k = 1 to m; the code of
Hanna et al. 2024 (EAP-IG) takes k = 0 to m - 1. Both tend to the integral as 1/m, from both sides.
"""

from numbers import Integral
from typing import Literal, get_args

Ends = Literal["corrupted", "clean"]
ENDS: tuple[Ends, ...] = get_args(Ends)


def parts_of(steps: int, ends: Ends) -> list[float]:
    """How far from the corrupted to the clean embeddings each run is."""
    first = 0 if ends == "corrupted" else 1
    return [(k + first) / steps for k in range(steps)] if steps > 1 else [0.0]


def steps_label(steps: int, ends: Ends) -> str:
    """For titles."""
    return f"{steps} steps with the {ends} end"


def check_steps(caller: str, steps: int, ends: Ends) -> None:
    """Refuse steps that mean nothing.

    Args:
        caller: the public function, to begin messages with.
        steps: how many.
        ends: which end is among them.

    Raises:
        ValueError: fewer than 1, no whole number, or an unknown end.
    """
    if not isinstance(steps, Integral) or steps < 1 or ends not in ENDS:
        raise ValueError(
            f"{caller}: got steps={steps} and ends={ends!r}, expected a whole number, "
            f"at least 1, and one of {ENDS}."
        )
