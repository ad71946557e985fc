"""Training a sparse autoencoder on states of one layer.

The smallest honest implementation of two published recipes; SAELens and dictionary_learning are
those of the literature, for dictionaries of another size. Common to both architectures: states
scaled to a mean squared norm of 1; ``b_dec`` begins as the mean state, the encoder as the transpose
of the decoder; decoder rows of norm 1 after every step, with the gradient along each row taken out
before it; gradients clipped to norm 1; Adam, warm-up, linear decay at the end.

| | loss besides ``mean |x - x'|^2`` |
|---|---|
| BatchTopK | ``aux_coefficient * |e - e'|^2 / |e - mean e|^2``: dead features render error ``e`` |
| JumpReLU | ``l0_coefficient * (L0 / k - 1)^2`` |

Source: Bussmann et al. 2024, arXiv:2412.06410, with the auxiliary loss of Gao et al. 2024,
arXiv:2406.04093, appendix A; Rajamanoharan et al. 2024, arXiv:2407.14435, with thresholds trained
directly (not their logarithms) and the penalty in the form that aims at a number of active
features, both as in dictionary_learning.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import step_progress
from slm_lens.features.activations import batch_top_k, is_active, jump_relu
from slm_lens.features.autoencoder import SAEFacts, SparseAutoencoder, StreamSite
from slm_lens.features.settings import SAESettings, check_settings

_WARM_UP, _DECAY, _SPARSITY_WARM_UP = 0.05, 0.2, 0.25  # shares of the steps
_SHOWN_EVERY = 50


def train_sae(
    states: Float[Tensor, "n d_model"],
    settings: SAESettings | None = None,
    *,
    site: StreamSite | None = None,
    progress: bool = True,
) -> SparseAutoencoder:
    """Train a sparse autoencoder.

    ::

        states = position_states(model, utterances, layers=[4])
        sae = train_sae(states.at(4), SAESettings(k=8), site=stream_site(model, 4))

    Args:
        states: residual stream at some positions, such as `PositionStates.at`.
        settings: how; None for the defaults.
        site: what the states are (`stream_site`); None for states of no model.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The autoencoder after the last step, for states as they are, without the scale of the
        training. The same states and settings give the same numbers on the same machine.

    Raises:
        ValueError: too few states, states that are not finite or all the same, or a setting out of
            range.

    Source:
        Bussmann et al. 2024, arXiv:2412.06410; Rajamanoharan et al. 2024, arXiv:2407.14435.
    """
    settings = settings or SAESettings()
    check_settings(settings, len(states))
    given = states.detach().float().cpu()
    mean_square = given.pow(2).sum(1).mean().item()
    if not given.isfinite().all() or (given == given[0]).all():
        raise ValueError(
            f"train_sae: got {len(states)} states that are not finite or all the same, expected "
            "states that differ. Was the model run in float16? Is the layer the embedding of one "
            "token?"
        )
    scale = mean_square**-0.5
    training = _Training(given * scale, settings)
    with step_progress(f"SAE {settings.architecture}", settings.n_steps, shown=progress) as show:
        for number in range(settings.n_steps):
            loss = training.step(number)
            if number % _SHOWN_EVERY == 0 or number + 1 == settings.n_steps:
                show(number + 1, f"loss {loss:.4f}")
    return training.finished(scale, site)


class _Training:
    """Weights, optimiser and order of the states of one training."""

    def __init__(self, states: Float[Tensor, "n d_model"], settings: SAESettings) -> None:
        self._states, self._settings = states, settings
        self._generator = torch.Generator().manual_seed(settings.seed)
        drawn = torch.randn(settings.d_sae, states.shape[1], generator=self._generator)
        self.W_dec = torch.nn.Parameter(drawn / drawn.norm(dim=1, keepdim=True))
        self.W_enc = torch.nn.Parameter(self.W_dec.detach().T.clone())
        self.b_enc = torch.nn.Parameter(torch.zeros(settings.d_sae))
        self.b_dec = torch.nn.Parameter(states.mean(0))
        first = torch.full((settings.d_sae,), settings.initial_threshold)
        self.threshold = torch.nn.Parameter(first)
        self._is_jump = settings.architecture == "jumprelu"
        self._parameters = [self.W_enc, self.b_enc, self.W_dec, self.b_dec]
        self._parameters += [self.threshold] if self._is_jump else []
        betas = (0.0, 0.999) if self._is_jump else (0.9, 0.999)  # as in either paper
        self._optimiser = torch.optim.Adam(
            self._parameters, lr=settings.learning_rate, betas=betas, eps=1e-8
        )
        self._idle = torch.zeros(settings.d_sae, dtype=torch.long)
        self._order = torch.empty(0, dtype=torch.long)

    def step(self, number: int) -> float:
        """One step; its loss before it."""
        settings = self._settings
        states = self._states[self._next_batch()]
        loss = self._jump_loss(states, number) if self._is_jump else self._top_loss(states)
        loss.backward()
        self._take_out_lengths()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(number, settings.n_steps)
        self._optimiser.step()
        self._optimiser.zero_grad()
        with torch.no_grad():
            self.W_dec /= self.W_dec.norm(dim=1, keepdim=True)
            self.threshold.clamp_(min=0)
        return loss.item()

    def _next_batch(self) -> Tensor:
        size = self._settings.batch_size
        if len(self._order) < size:
            self._order = torch.randperm(len(self._states), generator=self._generator)
        batch, self._order = self._order[:size], self._order[size:]
        return batch

    def _pre(self, states: Tensor) -> Tensor:
        return (states - self.b_dec) @ self.W_enc + self.b_enc

    def _top_loss(self, states: Tensor) -> Tensor:
        pre = self._pre(states)
        kept = batch_top_k(pre, self._settings.k)
        error = states - (kept @ self.W_dec + self.b_dec)
        self._idle += len(states)
        self._idle[(kept > 0).any(0)] = 0
        loss = error.pow(2).sum(1).mean()
        dead = self._idle >= self._settings.dead_after
        if dead.any():
            loss = loss + self._settings.aux_coefficient * self._aux_loss(pre, error.detach(), dead)
        return loss

    def _aux_loss(self, pre: Tensor, error: Tensor, dead: Tensor) -> Tensor:
        """How badly the best dead features of each state render what is left over."""
        n_kept = min(int(dead.sum()), max(1, error.shape[1] // 2))
        of_dead = pre.relu()[:, dead]
        values, places = of_dead.topk(n_kept, dim=1, sorted=False)
        kept = torch.zeros_like(of_dead).scatter(1, places, values)
        left = (error - kept @ self.W_dec[dead]).pow(2).sum(1).mean()
        return left / (error - error.mean(0)).pow(2).sum(1).mean()

    def _jump_loss(self, states: Tensor, number: int) -> Tensor:
        settings = self._settings
        pre = self._pre(states)
        kept = jump_relu(pre, self.threshold, settings.bandwidth)
        error = states - (kept @ self.W_dec + self.b_dec)
        l0 = is_active(pre, self.threshold, settings.bandwidth).sum(1).mean()
        weight = min(1.0, (number + 1) / (_SPARSITY_WARM_UP * settings.n_steps))
        penalty = settings.l0_coefficient * weight * (l0 / settings.k - 1) ** 2
        return error.pow(2).sum(1).mean() + penalty

    def _take_out_lengths(self) -> None:
        """The part of the decoder's gradient that would only change the length of its rows."""
        of_rows = self.W_dec.grad
        assert of_rows is not None
        along = (of_rows * self.W_dec.detach()).sum(1, keepdim=True)
        of_rows -= along * self.W_dec.detach()

    @torch.no_grad()
    def finished(self, scale: float, site: StreamSite | None) -> SparseAutoencoder:
        """The autoencoder in the scale of the states as they were given."""
        threshold = self.threshold if self._is_jump else self._estimated_threshold()
        facts = SAEFacts(
            self._settings.architecture, site, scale, len(self._states), self._settings
        )
        return SparseAutoencoder(
            self.W_enc.detach(),
            self.b_enc.detach() / scale,
            self.W_dec.detach(),
            self.b_dec.detach() / scale,
            threshold.detach() / scale,
            facts,
        )

    def _estimated_threshold(self) -> Float[Tensor, " d_sae"]:
        """Mean over batches of the smallest activation that BatchTopK keeps, for all features."""
        least, size = [], self._settings.batch_size
        order = torch.randperm(len(self._states), generator=self._generator)
        for first in range(0, len(order) - size + 1, size):  # whole batches, as in the training
            batch = self._states[order[first : first + size]]
            kept = batch_top_k(self._pre(batch), self._settings.k)
            least.append(kept[kept > 0].min())
        return torch.stack(least).mean().expand(self._settings.d_sae)


def _rate(number: int, n_steps: int) -> float:
    """Share of the learning rate at a step, counted from 0."""
    rising = (number + 1) / (_WARM_UP * n_steps)
    falling = (n_steps - number) / (_DECAY * n_steps)
    return min(1.0, rising, falling)
