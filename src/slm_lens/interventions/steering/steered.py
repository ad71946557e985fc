"""A vector added to the residual stream while a model reads or generates.

``h'[t] = h[t] + strength * schedule(t - start) * vector`` for the positions ``t`` of a span.

| schedule | factor at the ``i``-th position of the span |
|---|---|
| `constant` | 1 |
| `linear_decay` of ``n`` | ``1 - i/n``, and 0 from the ``n``-th on |

Positions are those of the sequence, prompt included: a span from the end of the prompt on steers
what is generated, and the schedule goes by positions and not by forward passes.

Source: adding vectors, Turner et al. 2023, arXiv:2308.10248; linear decay, Chang et al. 2026,
arXiv:2606.11386, Eq. 7.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.interventions.changing import Change, OpenSpan, changed, check_span
from slm_lens.interventions.site import HEAD_KINDS, Site
from slm_lens.lens.model import LensModel

Schedule = Callable[[Int[Tensor, " n"]], Float[Tensor, " n"]]
"""From positions since the start of the span to factors."""


def constant(since_start: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Factor 1 at every position.

    Args:
        since_start: positions since the start of the span.

    Returns:
        Ones.
    """
    return torch.ones_like(since_start, dtype=torch.float32)


@dataclass(frozen=True)
class LinearDecay:
    """Factor 1 at the first position, less by ``1/n`` at each following one, never below 0.

    Attributes:
        n_positions: how many positions are steered.
    """

    n_positions: int

    def __call__(self, since_start: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Factors.

        Args:
            since_start: positions since the start of the span.

        Returns:
            ``1 - i / n_positions``, at least 0.
        """
        return (1 - since_start / self.n_positions).clamp(min=0)


def linear_decay(n_positions: int) -> Schedule:
    """A schedule that falls from 1 to 0.

    Args:
        n_positions: how many positions are steered.

    Returns:
        The schedule.

    Raises:
        ValueError: fewer than one.

    Source:
        Chang et al. 2026, arXiv:2606.11386, Eq. 7.
    """
    if n_positions < 1:
        raise ValueError(f"linear_decay: got {n_positions} positions, expected at least 1.")
    return LinearDecay(n_positions)


@dataclass(frozen=True, eq=False)
class Steering:
    """A vector, where it is added, and how much of it.

    Attributes:
        site: ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out`` or ``mlp_out`` of a block.
        vector: what is added; its length counts.
        strength: how often it is added.
        span: half-open positions in the sequence; an end of None is open.
        schedule: factor by position.

    Raises:
        TypeError: the vector is no tensor of floats.
        ValueError: it is no single finite vector, the strength is not finite, the span is empty,
            or the site is part of a head.
    """

    site: Site
    vector: Float[Tensor, " d_model"]
    strength: float = 1.0
    span: OpenSpan = (0, None)
    schedule: Schedule = constant

    def __post_init__(self) -> None:
        check_span(self.span, "Steering")
        if self.site.kind in HEAD_KINDS:
            raise ValueError(
                f"Steering: got {self.site.label}, expected a site as wide as the residual stream: "
                "resid_pre, resid_mid, resid_post, attn_out or mlp_out."
            )
        check_floats(self.vector, "Steering")
        if self.vector.ndim != 1 or not math.isfinite(self.strength):
            raise ValueError(
                f"Steering: got a vector of shape {tuple(self.vector.shape)} and "
                f"strength={self.strength}, expected one vector, [d_model], and a finite number. "
                "Of a contrast take contrast(...).at(site)."
            )

    def with_strength(self, strength: float) -> "Steering":
        """The same with another strength.

        Args:
            strength: how often the vector is added.

        Returns:
            The steering.
        """
        return replace(self, strength=strength)

    def added(self, positions: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """What is added.

        Args:
            positions: positions of the sequence.

        Returns:
            A vector for each position, float32; zero outside the span.
        """
        start, end = self.span
        factor = self.schedule(positions - start) * self.strength
        outside = (positions < start) | (positions >= (positions.max() + 1 if end is None else end))
        factor = factor.masked_fill(outside, 0.0)
        return factor[:, None] * self.vector.to(positions.device, torch.float32)

    def change(self) -> Change:
        """The steering as a change of the model.

        Returns:
            The change.
        """
        return Change(
            self.site, self.span, lambda states, at: states + self.added(at).to(states.dtype)
        )


@contextmanager
def steered(model: LensModel, steerings: Steering | Sequence[Steering]) -> Iterator[None]:
    """Steer every forward pass of the model until the block ends.

    ::

        from_now_on = (len(sequence), None)
        with steered(model, Steering(Site("resid_post", 5), vector, 4.0, from_now_on)):
            model.generate(sequence.tokens[None])

    Args:
        model: the model.
        steerings: one or several, at once.

    Yields:
        Nothing.

    Raises:
        ValueError: a vector of another width than the model's, or a layer that it does not have.
    """  # noqa: DOC502 (the layer is checked by changed)
    given = [steerings] if isinstance(steerings, Steering) else list(steerings)
    for steering in given:
        check_width(steering.vector, model, "steered")
    with changed(model, [steering.change() for steering in given]):
        yield


def check_floats(vector: Tensor, caller: str) -> None:
    """Refuse what is no tensor of finite numbers.

    Args:
        vector: one or several.
        caller: the public name, to begin messages with.

    Raises:
        TypeError: no tensor of floats.
        ValueError: NaN or infinity.
    """
    if not isinstance(vector, Tensor) or not vector.is_floating_point():
        got = f"a tensor of {vector.dtype}" if isinstance(vector, Tensor) else type(vector).__name__
        raise TypeError(
            f"{caller}: got {got} for a vector, expected a tensor of floats. "
            "torch.tensor(numbers, dtype=torch.float32) makes one."
        )
    if not vector.isfinite().all():
        raise ValueError(
            f"{caller}: got a vector with NaN or infinite entries, expected finite ones. Was it "
            "divided by a length of 0?"
        )


def check_width(vector: Tensor, model: LensModel, caller: str) -> None:
    """Refuse vectors that are not as wide as the residual stream.

    Args:
        vector: one or several.
        model: the model.
        caller: the public name, to begin messages with.

    Raises:
        TypeError: no tensor of floats.
        ValueError: another width, or numbers that are not finite.
    """  # noqa: DOC502 (some raised by check_floats)
    check_floats(vector, caller)
    if vector.shape[-1] != model.cfg.d_model:
        raise ValueError(
            f"{caller}: got a vector of width {vector.shape[-1]}, expected d_model = "
            f"{model.cfg.d_model}. Was it made with another model?"
        )
