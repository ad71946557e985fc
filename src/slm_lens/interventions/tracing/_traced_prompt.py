"""One prompt's rows of a tracing, and what is done to every prompt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.utilities.statistics import derive_generator

from slm_lens.interventions.metrics import Metric, answer_rank
from slm_lens.interventions.runs._activations import activations, streams
from slm_lens.interventions.runs.measured_run import MeasuredRun, Meter
from slm_lens.interventions.runs.patched_runs import Cell, Engine, Patch, PatchedRuns
from slm_lens.interventions.site import Site
from slm_lens.interventions.tracing._trace_places import (
    TRACE_AT,
    Place,
    Severed,
    TraceAt,
    TraceKind,
    Windows,
    is_before,
    places_of,
    windows_of,
)
from slm_lens.interventions.tracing.traced_subjects import modality_of
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.sequence.word_span import MODALITIES, Modality

Unanswered = Literal["leave_out", "keep"]

_MOST_WAITING = 2**24
"""Numbers of last-layer states that are kept, to be read together."""


@dataclass(frozen=True, eq=False)
class TracePlan:
    """What is done to every prompt; `plan_traces` makes it.

    Attributes:
        kind: what is restored.
        windows: layers that are restored together.
        severed: outputs that have their corrupted values behind it.
        metrics: what is measured, by name.
        at: positions that are restored together.
        unanswered: what becomes of prompts that the model does not answer.
        n_samples: noise samples.
        seed: seed of the noise.
        memory_mb: about how much a batch of copies may take, in 10^6 bytes.
    """

    kind: TraceKind
    windows: Windows
    severed: Severed | None
    metrics: Mapping[str, Metric]
    at: TraceAt
    unanswered: Unanswered
    n_samples: int
    seed: int
    memory_mb: float


@dataclass(frozen=True, eq=False)
class TracedPrompt:
    """What tracing a prompt gave.

    Attributes:
        rows: rows of `Tracing.table`; none if it was left out.
        about: its row of `Tracing.prompts`.
        engine: how the restored runs were made, see `PatchedRuns`.
        why: why it is not the fastest; empty if it is.
    """

    rows: list[tuple[Any, ...]]
    about: tuple[Any, ...]
    engine: Engine
    why: str


def plan_traces(
    model: LensModel,
    kind: TraceKind,
    *,
    metrics: Mapping[str, Metric],
    at: TraceAt,
    layers: Sequence[int] | None,
    window: int | None,
    severed: Severed | None,
    unanswered: Unanswered,
    n_samples: int,
    seed: int,
    memory_mb: float,
) -> TracePlan:
    """What is done to every prompt; arguments as in `causal_trace`.

    Args:
        model: the model.
        kind: what is restored.
        metrics: what is measured, by name.
        at: positions that are restored together.
        layers: layers in the middle of what is restored.
        window: how many layers are restored together.
        severed: outputs that have their corrupted values behind it.
        unanswered: what becomes of prompts that the model does not answer.
        n_samples: noise samples.
        seed: seed of the noise.
        memory_mb: about how much a batch of copies may take, in 10^6 bytes.

    Returns:
        The plan.

    Raises:
        ValueError: an unknown option, a layer that does not exist, or a window that does not fit.
    """
    for name, got, valid in (
        ("at", at, TRACE_AT),
        ("unanswered", unanswered, ("leave_out", "keep")),
    ):
        if got not in valid:
            raise ValueError(f"causal_trace: got {name}={got!r}, expected one of {valid}.")
    windows = windows_of(model, kind, layers, window, severed)
    return TracePlan(kind, windows, severed, metrics, at, unanswered, n_samples, seed, memory_mb)


def trace_prompt(
    model: LensModel, prompt: MeasuredRun, plan: TracePlan, sigma: Mapping[Modality, float]
) -> TracedPrompt:
    """Trace one prompt.

    Args:
        model: the model, in evaluation mode; it is not changed.
        prompt: a run that ends where the answer begins; the span is the subject.
        plan: what is done.
        sigma: standard deviation of the noise, for each modality.

    Returns:
        Rows, by layer, place and metric.

    Raises:
        ValueError: a subject of several modalities, or a metric that the prompt does not have.
    """  # noqa: DOC502 (raised by the parts)
    traced = _Runs(model, prompt, plan)
    answered = traced.is_answered()
    kept = answered or plan.unanswered == "keep"
    rows = list[tuple[Any, ...]]()
    if kept:
        noise = _noise(prompt, sigma, plan.n_samples, plan.seed, model.cfg.d_model)
        rows += traced.rows(places_of(prompt, plan.at), noise)
    about = _prompt_row(prompt, answered, kept)
    return TracedPrompt(rows, about, traced.clean.engine, traced.clean.why)


def check_sigma(sigma: Mapping[Modality, float], needed: set[Modality]) -> None:
    """Refuse noise that is none, or that is not given for every modality.

    Args:
        sigma: standard deviation of the noise, for each modality.
        needed: modalities of the subjects.

    Raises:
        TypeError: it is one number.
        ValueError: a number is not above 0, or a modality has none.
    """
    if not isinstance(sigma, Mapping):
        raise TypeError(
            f"causal_trace: got sigma={sigma!r}, expected a number for each modality, such as "
            "{'speech': 0.1, 'text': 0.2}. subject_noise(model, prompts) gives them."
        )
    good = {m for m, s in sigma.items() if m in MODALITIES and s > 0}
    if not needed <= good or len(good) != len(sigma):
        raise ValueError(
            f"causal_trace: got sigma={dict(sigma)}, expected a number above 0 for each of "
            f"{sorted(needed)}, which the subjects are. Leave it out, or take "
            "subject_noise(model, prompts)."
        )


def _noise(
    prompt: MeasuredRun,
    sigma: Mapping[Modality, float],
    n_samples: int,
    seed: int,
    d_model: int,
) -> Float[Tensor, "sample n_subject d_model"]:
    generator = derive_generator(seed, "noise", prompt.name)
    drawn = torch.randn(n_samples, len(prompt.positions), d_model, generator=generator)
    return drawn * sigma[modality_of(prompt, "causal_trace")]


def _prompt_row(prompt: MeasuredRun, answered: bool, kept: bool) -> tuple[Any, ...]:
    subject = prompt.positions
    modality = modality_of(prompt, "causal_trace")
    size = len(prompt.sequence)
    return prompt.name, modality, size, subject[0], subject[-1] + 1, answered, kept


class _Runs:
    """The clean run of a prompt, and its corrupted and restored runs."""

    def __init__(self, model: LensModel, prompt: MeasuredRun, plan: TracePlan) -> None:
        self._model, self._prompt, self._plan = model, prompt, plan
        self._tokens = prompt.sequence.tokens
        self._lens = LogitLens(model)
        self.clean = PatchedRuns(model, self._tokens, memory_mb=plan.memory_mb)
        self._meter = Meter(self._lens, prompt, plan.metrics, self.clean.states[-1])

    def is_answered(self) -> bool:
        """Whether the likeliest next token is one of the answer's."""
        meter = Meter(self._lens, self._prompt, {"rank": answer_rank()}, self.clean.states[-1])
        return int(meter.baseline[0]) == 1

    def rows(
        self, places: Sequence[Place], noise: Float[Tensor, "sample n_subject d_model"]
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of the table, by layer, then place, then metric."""
        clean = self._clean()
        samples = [self._sample(one, places, clean) for one in noise]
        corrupted = torch.stack([base for base, _ in samples]).double()
        restored = torch.stack([found for _, found in samples]).double()
        effects = restored - corrupted[:, None]
        modality = modality_of(self._prompt, "causal_trace")
        keys = [(layer, place) for layer in self._plan.windows.of_layer for place in places]
        for i, (layer, place) in enumerate(keys):
            where = (self._plan.kind, layer, place.label, place.role, place.position)
            for j, metric in enumerate(self._plan.metrics):
                spread = float(effects[:, i, j].std()) if len(noise) > 1 else None
                yield (
                    self._prompt.name, modality, *where, metric, float(self._meter.baseline[j]),
                    float(corrupted[:, j].mean()), float(restored[:, i, j].mean()), spread,
                )  # fmt: skip

    def _sample(
        self,
        noise: Float[Tensor, "n_subject d_model"],
        places: Sequence[Place],
        clean: Mapping[str, Tensor],
    ) -> tuple[Float[Tensor, " metric"], Float[Tensor, "cell metric"]]:
        """The metrics of one corrupted run, and of what is restored in it."""
        plan, severed = self._plan, self._plan.severed
        first = self.clean.states[0].clone()
        first[list(self._prompt.positions)] += noise.to(first)
        runs = PatchedRuns(self._model, self._tokens, memory_mb=plan.memory_mb, first_state=first)
        base = self._meter.read(runs.states[-1, list(self._meter.positions)][None])[0]
        n_layers = len(self.clean.states) - 1
        cut = {} if severed is None else {i: Site(severed, i) for i in range(n_layers)}
        hooks = {site.hook for site in cut.values()}
        frozen = activations(self._model, self._tokens, hooks, "causal_trace", first_state=first)
        found, waiting = list[Tensor](), list[Tensor]()
        for window in plan.windows.of_layer.values():  # to hold the values of one layer alone
            back = [Site(plan.kind, i) for i in window]
            first_cut = window[0] + (not is_before(plan.kind, severed))
            away = [site for i, site in cut.items() if i >= first_cut and site not in back]
            cells: list[Cell] = [
                [_put(s, clean, place) for s in back] + [_put(s, frozen, place) for s in away]
                for place in places
            ]
            waiting.append(runs.final_states(cells, self._meter.positions))
            if sum(x.numel() for x in waiting) > _MOST_WAITING:
                found.append(self._meter.read(torch.cat(waiting)))
                waiting = []
        found += [self._meter.read(torch.cat(waiting))] if waiting else []
        return base, torch.cat(found)

    def _clean(self) -> dict[str, Tensor]:
        """Activations of the clean run, by hook."""
        known = streams(self.clean.states)
        windows = self._plan.windows.of_layer.values()
        hooks = {Site(self._plan.kind, i).hook for window in windows for i in window}
        inner = hooks - set(known)
        return known | activations(self._model, self._tokens, inner, "causal_trace")


def _put(site: Site, values: Mapping[str, Tensor], place: Place) -> Patch:
    activation = values[site.hook]
    return Patch(site, place.positions, activation[place.positions.to(activation.device)])
