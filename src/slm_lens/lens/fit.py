"""Fitting a tuned lens, and measuring how near a lens comes to the model's own prediction.

Each step takes a few sequences, gets their residual stack in one forward pass, keeps the positions
of the wanted modality, and goes down the gradient of ``KL(final || lens)`` one layer at a time, so
that the logits of one layer and ``chunk_positions`` positions are all that is ever held.

Which sequences a step reads follows from the seed and the step alone, so a fit that was killed and
resumed ends in the same numbers as an unbroken one.

Source: Belrose et al. 2023, arXiv:2303.08112, section 3 and appendix; Adam with amsgrad and linear
decay as the ``tuned-lens`` package's second recipe.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from slm_lens._atomic import write_atomically
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.lens.states import (
    Forward,
    ForwardUsed,
    attention_of,
    choose_forward,
    residual_stack,
)
from slm_lens.lens.tuned_lens import (
    FIT_POSITIONS,
    FitPositions,
    TunedLens,
    TunedLensFacts,
    unembedding_hash,
)
from slm_lens.sequence.batch import pad_batch
from slm_lens.sequence.sequence import SpeechTextSequence

CHECKPOINT = "fit.pt"


@dataclass(frozen=True)
class FitSettings:
    """How a tuned lens is fitted.

    Attributes:
        positions: modality of the positions at which it is fitted.
        n_steps: steps of the optimiser.
        batch_size: sequences a step.
        learning_rate: of Adam at the start; it falls to 0 in a straight line.
        weight_decay: pulls the translators to the identity.
        clip: largest norm of the gradient of all layers together.
        chunk_positions: positions whose logits are held at once.
        seed: of the order of the sequences.
    """

    positions: FitPositions = "all"
    n_steps: int = 250
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    chunk_positions: int = 512
    seed: int = 0


def fit_tuned_lens(
    model: LensModel,
    sequences: Sequence[SpeechTextSequence],
    settings: FitSettings | None = None,
    *,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 50,
    forward: Forward = "auto",
) -> TunedLens:
    """Fit a tuned lens.

    Args:
        model: the model, in evaluation mode; it is not changed.
        sequences: what to fit on, more than are read in one step.
        settings: how; None for the defaults.
        checkpoint: folder for the state of the fit. If it holds one with the same settings and
            model, the fit goes on from there.
        checkpoint_every: steps between two states.
        forward: which forward pass gives the states, as in `residual_stack`; the lens's facts say
            which one ran.

    Returns:
        The lens.

    Raises:
        ValueError: no sequence or a setting out of range, no position of the wanted modality, or
            a checkpoint of another fit.

    Source:
        Belrose et al. 2023, arXiv:2303.08112.
    """
    settings = settings or FitSettings()
    _check(sequences, settings, checkpoint_every)
    used = choose_forward(model, forward, "fit_tuned_lens")
    lens = TunedLens(model)
    parameters = [lens.weight.requires_grad_(), lens.bias.requires_grad_()]
    optimiser = torch.optim.Adam(
        parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        amsgrad=True,
    )
    state = _FitState(Path(checkpoint) if checkpoint else None, settings, model, used)
    first, n_positions = state.resume(lens, optimiser)
    for step in range(first, settings.n_steps):
        optimiser.param_groups[0]["lr"] = settings.learning_rate * (1 - step / settings.n_steps)
        batch = [sequences[i] for i in _drawn(len(sequences), settings, step)]
        n_positions += _step(model, lens, batch, settings, used)
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % checkpoint_every == 0 or step + 1 == settings.n_steps:
            state.keep(lens, optimiser, step + 1, n_positions)
    if not n_positions:
        raise ValueError(
            f"fit_tuned_lens: got no {settings.positions} position in what {settings.n_steps} "
            "steps read, expected some. Give sequences of that modality, or positions='all'."
        )
    facts = TunedLensFacts(
        settings.positions,
        settings.n_steps,
        n_positions,
        unembedding_hash(model),
        forward=used,
        attention=attention_of(model, used),
    )
    weight, bias = (p.detach() for p in parameters)
    return TunedLens(model, weight=weight, bias=bias, facts=facts)


def lens_divergence(
    model: LensModel,
    lenses: Mapping[str, TunedLens | LogitLens],
    sequences: Sequence[SpeechTextSequence],
    *,
    batch_size: int = 8,
    chunk_positions: int = 512,
    forward: Forward = "auto",
) -> pl.DataFrame:
    """How far each lens is from the model's own prediction, by layer and modality.

    With lenses that were fitted at positions of one modality, this is the transfer matrix between
    modalities: rows of ``lens`` against ``positions``.

    Args:
        model: the model, in evaluation mode.
        lenses: by name; a `LogitLens` for comparison.
        sequences: what to measure on; not what was fitted on.
        batch_size: sequences in one forward pass.
        chunk_positions: positions whose logits are held at once.
        forward: which forward pass gives the states, as in `residual_stack`.

    Returns:
        ``lens``, ``positions`` (``"speech"``, ``"text"``, ``"all"``), ``layer``, ``kl_nats``
        (mean of ``KL(final || lens)`` over the positions) and ``n_positions``; no rows for a
        modality without positions.

    Raises:
        ValueError: there is no sequence.
    """
    if not sequences:
        raise ValueError("lens_divergence: got no sequence, expected at least one.")
    used = choose_forward(model, forward, "lens_divergence")
    n_layers = model.cfg.n_layers
    sums: dict[tuple[str, str], np.ndarray] = {
        (name, p): np.zeros(n_layers + 1) for name in lenses for p in FIT_POSITIONS
    }
    counts: dict[str, int] = dict.fromkeys(FIT_POSITIONS, 0)
    for first in range(0, len(sequences), batch_size):
        batch = sequences[first : first + batch_size]
        states, is_of = _states(model, batch, "all", used)
        for p in FIT_POSITIONS:
            counts[p] += int(is_of[p].sum())
        for name, lens in lenses.items():
            for layer in range(n_layers + 1):
                kl = _kl(states, layer, lens, chunk_positions).double()
                for p in FIT_POSITIONS:
                    sums[name, p][layer] += float(kl[is_of[p]].sum())
    rows = [
        (name, p, layer, float(total / counts[p]), counts[p])
        for (name, p), totals in sums.items()
        if counts[p]
        for layer, total in enumerate(totals)
    ]
    return pl.DataFrame(
        rows, schema=["lens", "positions", "layer", "kl_nats", "n_positions"], orient="row"
    )


def _step(
    model: LensModel,
    lens: TunedLens,
    batch: Sequence[SpeechTextSequence],
    settings: FitSettings,
    used: ForwardUsed,
) -> int:
    """Gradients of one step, layer by layer; how many positions it read."""
    states, _ = _states(model, batch, settings.positions, used)
    n = states.shape[1]
    for layer in range(model.cfg.n_layers):
        for chunk in states.split(settings.chunk_positions, dim=1):
            if chunk.shape[1]:
                loss = _divergence(chunk, layer, lens).sum() / n
                loss.backward()
    return n


def _kl(
    states: Float[Tensor, "layer n d_model"],
    layer: int,
    lens: TunedLens | LogitLens,
    chunk_positions: int,
) -> Float[Tensor, " n"]:
    with torch.no_grad():
        chunks = states.split(chunk_positions, dim=1)
        return torch.cat([_divergence(chunk, layer, lens) for chunk in chunks])


def _divergence(
    states: Float[Tensor, "layer n d_model"], layer: int, lens: TunedLens | LogitLens
) -> Float[Tensor, " n"]:
    """``KL(final || lens)`` in nats at every position."""
    reader = lens.logit_lens if isinstance(lens, TunedLens) else lens
    with torch.no_grad():
        final = reader.differentiable(states[-1]).log_softmax(-1)
    state = lens.translate(states[layer], layer) if isinstance(lens, TunedLens) else states[layer]
    read = reader.differentiable(state).log_softmax(-1)
    return functional.kl_div(read, final, reduction="none", log_target=True).sum(-1)


def _states(
    model: LensModel,
    batch: Sequence[SpeechTextSequence],
    positions: FitPositions,
    used: ForwardUsed,
) -> tuple[Float[Tensor, "layer n d_model"], dict[str, Bool[Tensor, " n"]]]:
    """Residual states at the wanted positions of a batch, and which of them are of a modality."""
    padded = pad_batch(batch, pad_token=int(batch[0].tokens[0]))
    stack = residual_stack(model, padded.tokens, padded.attention_mask, forward=used)
    kinds = [kind for sequence in batch for kind in sequence.kinds]
    is_of = {p: torch.tensor([p in ("all", kind) for kind in kinds]) for p in FIT_POSITIONS}
    flat = stack[:, padded.attention_mask.to(stack.device)]
    wanted = is_of[positions]
    return flat[:, wanted.to(stack.device)], {p: mask[wanted] for p, mask in is_of.items()}


def _drawn(n: int, settings: FitSettings, step: int) -> Iterator[int]:
    """Sequences of a step: every one once in each pass, in an order drawn anew."""
    for i in range(step * settings.batch_size, (step + 1) * settings.batch_size):
        order = np.random.default_rng([settings.seed, i // n]).permutation(n)
        yield int(order[i % n])


class _FitState:
    """The state of a fit on disk; without a folder it does nothing."""

    def __init__(
        self, folder: Path | None, settings: FitSettings, model: LensModel, used: ForwardUsed
    ) -> None:
        self._path = None if folder is None else folder / CHECKPOINT
        self._is_of = {
            "settings": repr(settings),
            "unembedding": unembedding_hash(model),
            "states": f"{used} forward, {attention_of(model, used)} attention",
        }

    def resume(self, lens: TunedLens, optimiser: torch.optim.Optimizer) -> tuple[int, int]:
        """Take over what is there; the next step and the positions that were read."""
        if self._path is None or not self._path.is_file():
            return 0, 0
        kept = torch.load(self._path, weights_only=True)
        if kept["is_of"] != self._is_of:
            raise ValueError(
                f"fit_tuned_lens: {self._path} is the state of another fit ({kept['is_of']}), "
                f"expected {self._is_of}. Choose another checkpoint folder, or the same settings."
            )
        with torch.no_grad():
            lens.weight.copy_(kept["weight"])
            lens.bias.copy_(kept["bias"])
        optimiser.load_state_dict(kept["optimiser"])
        return kept["step"], kept["n_positions"]

    def keep(
        self, lens: TunedLens, optimiser: torch.optim.Optimizer, step: int, n_positions: int
    ) -> None:
        """Write the state, replacing the earlier one."""
        if self._path is None:
            return
        state = {
            "is_of": self._is_of,
            "step": step,
            "n_positions": n_positions,
            "weight": lens.weight.detach(),
            "bias": lens.bias.detach(),
            "optimiser": optimiser.state_dict(),
        }
        write_atomically(self._path, lambda part: torch.save(state, part))


def _check(
    sequences: Sequence[SpeechTextSequence], settings: FitSettings, checkpoint_every: int
) -> None:
    if not sequences:
        raise ValueError("fit_tuned_lens: got no sequence, expected at least one.")
    counts = (settings.n_steps, settings.batch_size, settings.chunk_positions, checkpoint_every)
    rates = (settings.learning_rate, settings.clip)
    if min(counts) < 1 or not min(rates) > 0 or settings.weight_decay < 0:
        raise ValueError(
            f"fit_tuned_lens: got {settings} and checkpoint_every={checkpoint_every}, expected "
            "counts of at least 1, a learning rate and clip above 0, and weight_decay >= 0."
        )
    if settings.positions not in FIT_POSITIONS:
        raise ValueError(
            f"fit_tuned_lens: got positions={settings.positions!r}, expected one of "
            f"{FIT_POSITIONS}."
        )
