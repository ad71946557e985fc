"""Fitting a tuned lens, and measuring how near a lens comes to the model's own prediction.

Each step takes a few sequences, gets their residual stack in one forward pass, keeps the positions
of the wanted modality, and goes down the gradient of ``KL(final || lens)`` one layer at a time, so
that the logits of one layer and ``chunk_positions`` positions are all that is ever held.

Which sequences a step reads follows from the seed and the step alone, so a fit that was killed and
resumed ends in the same numbers as an unbroken one.

Source: Belrose et al. 2023, arXiv:2303.08112, section 3 and appendix; Adam with amsgrad and linear
decay as the ``tuned-lens`` package's second recipe.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from slm_lens._console import step_progress
from slm_lens.lens._fit_state import FitState
from slm_lens.lens._sequence_reader import SequenceReader, SequenceSource, refuse_one
from slm_lens.lens.fit_settings import FIT_POSITIONS, FitPositions, FitSettings, check_fit, stalled
from slm_lens.lens.lens_facts import TunedLensFacts
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.middle_layers import middle_divergence
from slm_lens.lens.model import LensModel
from slm_lens.lens.states import (
    Forward,
    ForwardUsed,
    attention_of,
    choose_forward,
    residual_stack,
)
from slm_lens.lens.tuned_lens import TunedLens, translated, unembedding_hash
from slm_lens.sequence.batch import pad_batch
from slm_lens.sequence.sequence import SpeechTextSequence


def fit_tuned_lens(
    model: LensModel,
    sequences: SequenceSource,
    settings: FitSettings | None = None,
    *,
    held_out: Sequence[SpeechTextSequence] = (),
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 50,
    forward: Forward = "auto",
    progress: bool = True,
) -> TunedLens:
    """Fit a tuned lens.

    Args:
        model: the model, in evaluation mode; it is not changed.
        sequences: what to fit on. Either all of them in memory, read in an order drawn anew for
            each pass; or a stream, of which one step's sequences are held at a time: a function
            that gives the sequences of a pass by its number (0, 1, ...), or something that can be
            iterated again and again. A stream is read in its own order, and must give the same
            sequences in a pass each time it is asked: to go on after an interruption, what was
            read of the pass is read again without the model, and the last sequence is compared.
        settings: how; None for the defaults.
        held_out: sequences to evaluate on every ``settings.evaluate_every`` steps: the mean KL
            over the middle layers, which ``settings.patience`` goes by. They are not fitted on.
        checkpoint: folder for the state of the fit. If it holds one with the same settings,
            held-out sequences and model, the fit goes on from there, to the same bits.
        checkpoint_every: steps between two states.
        forward: which forward pass gives the states, as in `residual_stack`; the lens's facts say
            which one ran.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The lens after the last step; its facts have the settings and all evaluations.

    Raises:
        ValueError: no sequence or a setting out of range, no position of the wanted modality,
            patience without held-out sequences, a stream that gives other sequences than before,
            or a checkpoint of another fit.
        TypeError: `sequences` can be read once only, or is a single one.

    Source:
        Belrose et al. 2023, arXiv:2303.08112; stopping early is ours.
    """  # noqa: DOC502 (raised by the parts of the fit)
    settings = settings or FitSettings()
    check_fit(sequences, settings, held_out, checkpoint_every)
    used = choose_forward(model, forward, "fit_tuned_lens")
    fit = _Fit(model, settings, sequences, held_out, used)
    state = FitState(Path(checkpoint) if checkpoint else None, settings, model, held_out, used)
    state.resume(fit)
    with step_progress("tuned lens", settings.n_steps, shown=progress) as show:
        show(fit.n_steps, "")
        while fit.n_steps < settings.n_steps and not stalled(fit.evaluations, settings):
            kl_nats = fit.step()
            evaluated = fit.evaluate_if_due()
            show(fit.n_steps, f"KL {kl_nats:.3f} nats")
            if fit.n_steps % checkpoint_every == 0 or fit.n_steps == settings.n_steps or evaluated:
                state.keep(fit)
    return fit.lens()


class _Fit:
    """A fit between two steps; everything that a checkpoint has to hold.

    Attributes:
        tuned: the lens.
        layers: matrix and vector of each of its layers, which ask for gradients.
        optimiser: Adam over its parameters.
        reader: where the fit is in its sequences.
        n_steps: steps done.
        n_positions: positions read.
        evaluations: (steps done, held-out KL in nats).
    """

    def __init__(
        self,
        model: LensModel,
        settings: FitSettings,
        sequences: SequenceSource,
        held_out: Sequence[SpeechTextSequence],
        used: ForwardUsed,
    ) -> None:
        self._model, self._settings, self._held_out = model, settings, held_out
        self._used: ForwardUsed = used
        self.tuned = TunedLens(model)
        # Views of the lens, one leaf a layer: a gradient of one layer is as large as one layer.
        self.layers = [
            (weight.detach().requires_grad_(), bias.detach().requires_grad_())
            for weight, bias in zip(self.tuned.weight, self.tuned.bias, strict=True)
        ]
        self.parameters = [parameter for layer in self.layers for parameter in layer]
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            amsgrad=True,
        )
        self.reader = SequenceReader(sequences, settings.seed)
        self.n_steps = self.n_positions = 0
        self.evaluations: list[tuple[int, float]] = []

    def step(self) -> float:
        """One step of the optimiser; the mean KL before it, over layers and positions."""
        settings = self._settings
        left = 1 - self.n_steps / settings.n_steps
        self.optimiser.param_groups[0]["lr"] = settings.learning_rate * left
        batch = self.reader.read(settings.batch_size)
        n_positions, kl_nats = _backward(
            self._model, self.tuned.logit_lens, self.layers, batch, settings, self._used
        )
        torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.n_positions += n_positions
        self.n_steps += 1
        return kl_nats

    def evaluate_if_due(self) -> bool:
        """Evaluate after every so many steps; whether it was done."""
        settings = self._settings
        if not self._held_out or self.n_steps % settings.evaluate_every:
            return False
        table = lens_divergence(
            self._model,
            {"tuned": self.tuned},
            self._held_out,
            batch_size=settings.batch_size,
            forward=self._used,
        )
        kl_nats = middle_divergence(table, "tuned", settings.positions)
        self.evaluations.append((self.n_steps, kl_nats))
        return True

    def lens(self) -> TunedLens:
        """What was fitted."""
        settings = self._settings
        if not self.n_positions:
            raise ValueError(
                f"fit_tuned_lens: got no {settings.positions} position in what {self.n_steps} "
                "steps read, expected some. Give sequences of that modality, or positions='all'."
            )
        facts = TunedLensFacts(
            settings.positions,
            self.n_steps,
            self.n_positions,
            unembedding_hash(self._model),
            settings=settings,
            evaluations=tuple(self.evaluations),
            forward=self._used,
            attention=attention_of(self._model, self._used),
        )
        tuned = self.tuned
        return TunedLens(self._model, weight=tuned.weight, bias=tuned.bias, facts=facts)


def lens_divergence(
    model: LensModel,
    lenses: Mapping[str, TunedLens | LogitLens],
    sequences: Sequence[SpeechTextSequence],
    *,
    batch_size: int = 8,
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
        forward: which forward pass gives the states, as in `residual_stack`.

    Returns:
        ``lens``, ``positions`` (``"speech"``, ``"text"``, ``"all"``), ``layer``, ``kl_nats``
        (mean of ``KL(final || lens)`` over the positions) and ``n_positions``; no rows for a
        modality without positions.

    Raises:
        ValueError: there is no sequence, none at a time, or a lens is of another model.
        TypeError: `sequences` is a single one.
    """  # noqa: DOC502 (raised by refuse_one)
    refuse_one(sequences, "lens_divergence")
    if not sequences or batch_size < 1:
        raise ValueError(
            f"lens_divergence: got {len(sequences)} sequences and batch_size={batch_size}, "
            "expected at least one sequence, and at least one at a time."
        )
    for lens in lenses.values():
        lens.require_model(model, "lens_divergence")
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
            kl = _divergence(states, lens).double()
            for p in FIT_POSITIONS:
                sums[name, p] += kl[:, is_of[p]].sum(1).numpy()
    rows = [
        (name, p, layer, float(total / counts[p]), counts[p])
        for (name, p), totals in sums.items()
        if counts[p]
        for layer, total in enumerate(totals)
    ]
    return pl.DataFrame(
        rows, schema=["lens", "positions", "layer", "kl_nats", "n_positions"], orient="row"
    )


def _backward(
    model: LensModel,
    lens: LogitLens,
    layers: Sequence[tuple[Tensor, Tensor]],
    batch: Sequence[SpeechTextSequence],
    settings: FitSettings,
    used: ForwardUsed,
) -> tuple[int, float]:
    """Gradients of one step, layer by layer; how many positions it read, and their mean KL."""
    states, _ = _states(model, batch, settings.positions, used)
    n = states.shape[1]
    total = torch.zeros((), device=states.device)
    for chunk in states.split(settings.chunk_positions, dim=1) if n else ():
        with torch.no_grad():
            final = lens.differentiable(chunk[-1]).log_softmax(-1)
        for (weight, bias), state in zip(layers, chunk[:-1], strict=True):
            read = lens.differentiable(translated(state, weight, bias)).log_softmax(-1)
            loss = functional.kl_div(read, final, reduction="sum", log_target=True) / n
            loss.backward()
            total += loss.detach()
    return n, total.item() / len(layers)


def _divergence(
    states: Float[Tensor, "layer n d_model"], lens: TunedLens | LogitLens
) -> Float[Tensor, "layer n"]:
    """``KL(final || lens)`` in nats of every layer and position, on the CPU."""
    reader = lens.logit_lens if isinstance(lens, TunedLens) else lens
    read = states
    if isinstance(lens, TunedLens):
        read = torch.stack([lens.translate(h, layer) for layer, h in enumerate(states)])
    found = reader.readout(read.detach(), "kl", within=["full"], final=states[-1].to(read.dtype))
    return found.kl["full"].cpu()


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
