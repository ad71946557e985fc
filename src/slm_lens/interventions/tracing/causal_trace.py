"""Causal tracing: noise on the subject, and one clean activation put back at a time.

Three runs of every prompt:

1. the **clean** run predicts the answer;
2. the **corrupted** run gets Gaussian noise on the embeddings of the subject's tokens;
3. a **restored** run is the corrupted run, in which some activation has its clean value.

With ``M`` the probability of the answer (or another metric), averaged over the noise samples,

- total effect ``TE = M_clean - M_corrupted``;
- indirect effect ``IE = M_restored - M_corrupted``; its mean over prompts is the AIE;
- ``IE / TE`` for each prompt, as spoken prompts have another TE than written ones.

The residual stream is restored in one layer; an MLP or attention output, which is one of many that
add up, in a window of layers. **Severed**: after what is restored, MLP (or attention) outputs at
the same positions have their corrupted values, so what is left of the effect does not go through
them.

Source: Meng et al. 2022, arXiv:2202.05262 (ROME), code kmeng01/rome @0874014; for speech Modica et
al. 2026, arXiv:2605.22170. Ours: noise for each modality, restoring all positions of a role.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.utilities.statistics import derive_generator

from slm_lens._console import step_progress
from slm_lens.interventions.metrics import Metric, answer_probability, answer_rank
from slm_lens.interventions.runs._activations import activations, streams
from slm_lens.interventions.runs.measured_run import (
    MeasuredRun,
    Meter,
    check_runs,
    provenance_of_runs,
)
from slm_lens.interventions.runs.patched_runs import Cell, Patch, PatchedRuns
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
from slm_lens.interventions.tracing.traced_subjects import modality_of, subject_noise
from slm_lens.interventions.tracing.tracing_result import PROMPTS, SCHEMA, Tracing
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.sequence.word_span import MODALITIES, Modality

_MOST_WAITING = 2**24
"""Numbers of last-layer states that are kept, to be read together."""


def causal_trace(
    model: LensModel,
    prompts: Sequence[MeasuredRun],
    kind: TraceKind = "resid_post",
    *,
    metrics: Sequence[Metric] | None = None,
    at: TraceAt = "roles",
    layers: Sequence[int] | None = None,
    window: int | None = None,
    severed: Severed | None = None,
    unanswered: Literal["leave_out", "keep"] = "leave_out",
    sigma: Mapping[Modality, float] | None = None,
    noise_scale: float = 3.0,
    n_samples: int = 10,
    seed: int = 0,
    memory_mb: float = 256.0,
    progress: bool = True,
) -> Tracing:
    """Trace where a model has what it answers with.

    ::

        pairs = slm_lens.organism_pairs(model)  # spoken prompts, written answers
        traced = causal_trace(model, subject_runs(pairs.pairs), "mlp_out")
        traced.summary("probability")  # AIE by layer and role

    Noise depends on seed and name of the prompt alone, so traces of several kinds have the same.

    Args:
        model: the model, in evaluation mode; it is not changed.
        prompts: runs that end where the answer begins; the span is the subject, of one modality.
        kind: what is restored: the residual stream (``"resid_post"``: after a block), or what MLPs
            or attention add to it.
        metrics: what is measured, with different names; None for the probability of the answer.
        at: which positions are restored together: ``"roles"`` all of a role (`traced_subjects`),
            ``"positions"`` each by itself, ``"subject"`` the whole subject, ``"all"`` everything
            from the subject on.
        layers: layers in the middle of what is restored; None for all.
        window: how many layers are restored together, ``[l - window // 2, l + (window + 1) // 2)``
            within the model; for ``"mlp_out"`` and ``"attn_out"`` None is a fifth of the layers,
            for the stream it is 1.
        severed: outputs that have their corrupted values at the restored positions, wherever they
            come after what is restored.
        unanswered: what becomes of prompts for which the likeliest next token of the clean run,
            over the whole vocabulary, is none of the answer's: ``"leave_out"``, as ROME does,
            counts them; ``"keep"`` traces them as well.
        sigma: standard deviation of the noise, for each modality; None for `subject_noise` of all
            prompts, left out or not.
        noise_scale: how many standard deviations of the embeddings; of no effect with `sigma`.
        n_samples: noise samples, over which metrics are averaged.
        seed: seed of the noise.
        memory_mb: about how much a batch of copies may take, in 10^6 bytes.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        One row for each prompt, layer, place and metric.

    Raises:
        TypeError: `sigma` is one number.
        ValueError: no prompt or metric, repeated names, an unknown option, a layer that does not
            exist, a window that does not fit, no noise for a modality, a subject of several
            modalities, a prompt without answer, or none that the model answers.
    """  # noqa: DOC502 (TypeError is raised by _check_sigma)
    chosen = [answer_probability()] if metrics is None else list(metrics)
    named = {m.name: m for m in chosen}
    check_runs(prompts, named, "causal_trace", "[answer_probability()]")
    _check(prompts, chosen, at, unanswered, n_samples)
    windows = windows_of(model, kind, layers, window, severed)
    if sigma is None:
        sigma = subject_noise(model, prompts, scale=noise_scale)
    _check_sigma(prompts, sigma)
    rows, of_prompts, engines = list[tuple[Any, ...]](), list[tuple[Any, ...]](), set[str]()
    provenance = None
    with step_progress("tracing", len(prompts), shown=progress) as show:
        for done, prompt in enumerate(prompts):
            show(done, prompt.name)
            traced = _TracedPrompt(model, prompt, named, memory_mb)
            answered = traced.is_answered()
            kept = answered or unanswered == "keep"
            of_prompts.append(_prompt_row(prompt, answered, kept))
            engines.add(traced.clean.engine)
            provenance = provenance_of_runs(model, traced.clean)
            if kept:
                noise = _noise(prompt, sigma, n_samples, seed, model.cfg.d_model)
                rows += traced.rows(kind, windows, severed, places_of(prompt, at), noise)
        show(len(prompts), "")
    if not rows:
        raise ValueError(
            f"causal_trace: got {len(prompts)} prompts, none of which the model answers with its "
            "likeliest token, expected at least one. Take other prompts, or unanswered='keep'."
        )
    return Tracing(
        pl.DataFrame(rows, schema=SCHEMA, orient="row"),
        prompts=pl.DataFrame(of_prompts, schema=PROMPTS, orient="row"),
        kind=kind,
        at=at,
        window=windows.size,
        severed=severed,
        sigma={str(m): float(s) for m, s in sigma.items()},
        n_samples=n_samples,
        seed=seed,
        engine=", ".join(sorted(engines)),
        provenance=provenance,
    )


def _check(
    prompts: Sequence[MeasuredRun],
    metrics: Sequence[Metric],
    at: str,
    unanswered: str,
    n_samples: int,
) -> None:
    for name, got, valid in (
        ("at", at, TRACE_AT),
        ("unanswered", unanswered, ("leave_out", "keep")),
    ):
        if got not in valid:
            raise ValueError(f"causal_trace: got {name}={got!r}, expected one of {valid}.")
    silent = [p.name for p in prompts if not p.answer]
    names = [m.name for m in metrics]
    if silent or len(set(names)) != len(names) or n_samples < 1:
        raise ValueError(
            f"causal_trace: got the metrics {names}, n_samples={n_samples}, and prompts without "
            f"an answer {silent[:4]}, expected different metrics, at least one sample, and an "
            "answer for each prompt: MeasuredRun(..., answer=(token,))."
        )


def _check_sigma(prompts: Sequence[MeasuredRun], sigma: Mapping[Modality, float]) -> None:
    if not isinstance(sigma, Mapping):
        raise TypeError(
            f"causal_trace: got sigma={sigma!r}, expected a number for each modality, such as "
            "{'speech': 0.1, 'text': 0.2}. subject_noise(model, prompts) gives them."
        )
    needed = {modality_of(p, "causal_trace") for p in prompts}
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


class _TracedPrompt:
    """The clean run of a prompt, and its corrupted and restored runs."""

    def __init__(
        self,
        model: LensModel,
        prompt: MeasuredRun,
        metrics: Mapping[str, Metric],
        memory_mb: float,
    ) -> None:
        self._model, self._prompt, self._metrics = model, prompt, metrics
        self._memory_mb = memory_mb
        self._tokens = prompt.sequence.tokens
        self._lens = LogitLens(model)
        self.clean = PatchedRuns(model, self._tokens, memory_mb=memory_mb)
        self._meter = Meter(self._lens, prompt, metrics, self.clean.states[-1])

    def is_answered(self) -> bool:
        """Whether the likeliest next token is one of the answer's."""
        meter = Meter(self._lens, self._prompt, {"rank": answer_rank()}, self.clean.states[-1])
        return int(meter.baseline[0]) == 1

    def rows(
        self,
        kind: TraceKind,
        windows: Windows,
        severed: Severed | None,
        places: Sequence[Place],
        noise: Float[Tensor, "sample n_subject d_model"],
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of the table, by layer, then place, then metric."""
        clean = self._clean(kind, windows)
        samples = [self._sample(one, kind, windows, severed, places, clean) for one in noise]
        corrupted = torch.stack([base for base, _ in samples]).double()
        restored = torch.stack([found for _, found in samples]).double()
        effects = restored - corrupted[:, None]
        modality = modality_of(self._prompt, "causal_trace")
        keys = [(layer, place) for layer in windows.of_layer for place in places]
        for i, (layer, place) in enumerate(keys):
            where = (kind, layer, place.label, place.role, place.position)
            for j, metric in enumerate(self._metrics):
                spread = float(effects[:, i, j].std()) if len(noise) > 1 else None
                yield (
                    self._prompt.name, modality, *where, metric, float(self._meter.baseline[j]),
                    float(corrupted[:, j].mean()), float(restored[:, i, j].mean()), spread,
                )  # fmt: skip

    def _sample(
        self,
        noise: Float[Tensor, "n_subject d_model"],
        kind: TraceKind,
        windows: Windows,
        severed: Severed | None,
        places: Sequence[Place],
        clean: Mapping[str, Tensor],
    ) -> tuple[Float[Tensor, " metric"], Float[Tensor, "cell metric"]]:
        """The metrics of one corrupted run, and of what is restored in it."""
        first = self.clean.states[0].clone()
        first[list(self._prompt.positions)] += noise.to(first)
        runs = PatchedRuns(self._model, self._tokens, memory_mb=self._memory_mb, first_state=first)
        base = self._meter.read(runs.states[-1, list(self._meter.positions)][None])[0]
        n_layers = len(self.clean.states) - 1
        cut = {} if severed is None else {i: Site(severed, i) for i in range(n_layers)}
        hooks = {site.hook for site in cut.values()}
        frozen = activations(self._model, self._tokens, hooks, "causal_trace", first_state=first)
        found, waiting = list[Tensor](), list[Tensor]()
        for window in windows.of_layer.values():  # to hold the values of one layer alone
            back = [Site(kind, i) for i in window]
            first_cut = window[0] + (not is_before(kind, severed))
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

    def _clean(self, kind: TraceKind, windows: Windows) -> dict[str, Tensor]:
        """Activations of the clean run, by hook."""
        known = streams(self.clean.states)
        hooks = {Site(kind, i).hook for window in windows.of_layer.values() for i in window}
        inner = hooks - set(known)
        return known | activations(self._model, self._tokens, inner, "causal_trace")


def _put(site: Site, values: Mapping[str, Tensor], place: Place) -> Patch:
    activation = values[site.hook]
    return Patch(site, place.positions, activation[place.positions.to(activation.device)])
