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

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from slm_lens._console import shown_steps
from slm_lens.interventions.metrics import Metric, answer_probability
from slm_lens.interventions.runs.measured_run import (
    MeasuredRun,
    check_runs,
    provenance_of_engine,
)
from slm_lens.interventions.tracing._trace_places import Severed, TraceAt, TraceKind
from slm_lens.interventions.tracing._traced_prompt import (
    check_sigma,
    plan_traces,
    trace_prompt,
)
from slm_lens.interventions.tracing.traced_subjects import modality_of, subject_noise
from slm_lens.interventions.tracing.tracing_result import PROMPTS, SCHEMA, Tracing
from slm_lens.lens.model import LensModel
from slm_lens.sequence.word_span import Modality


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
    """  # noqa: DOC502 (TypeError is raised by check_sigma)
    chosen = [answer_probability()] if metrics is None else list(metrics)
    named = {m.name: m for m in chosen}
    check_runs(prompts, named, "causal_trace", "[answer_probability()]")
    _check(prompts, chosen, n_samples)
    plan = plan_traces(
        model,
        kind,
        metrics=named,
        at=at,
        layers=layers,
        window=window,
        severed=severed,
        unanswered=unanswered,
        n_samples=n_samples,
        seed=seed,
        memory_mb=memory_mb,
    )
    if sigma is None:
        sigma = subject_noise(model, prompts, scale=noise_scale)
    check_sigma(sigma, {modality_of(p, "causal_trace") for p in prompts})
    with shown_steps(prompts, "tracing", shown=progress) as shown:
        done = [trace_prompt(model, prompt, plan, sigma) for prompt in shown]
    rows = [row for traced in done for row in traced.rows]
    if not rows:
        raise ValueError(
            f"causal_trace: got {len(prompts)} prompts, none of which the model answers with its "
            "likeliest token, expected at least one. Take other prompts, or unanswered='keep'."
        )
    return Tracing(
        pl.DataFrame(rows, schema=SCHEMA, orient="row"),
        prompts=pl.DataFrame([x.about for x in done], schema=PROMPTS, orient="row"),
        kind=kind,
        at=at,
        window=plan.windows.size,
        severed=severed,
        sigma={str(m): float(s) for m, s in sigma.items()},
        n_samples=n_samples,
        seed=seed,
        engine=", ".join(sorted({traced.engine for traced in done})),
        provenance=provenance_of_engine(model, done[-1].engine),
    )


def _check(prompts: Sequence[MeasuredRun], metrics: Sequence[Metric], n_samples: int) -> None:
    silent = [p.name for p in prompts if not p.answer]
    names = [m.name for m in metrics]
    if silent or len(set(names)) != len(names) or n_samples < 1:
        raise ValueError(
            f"causal_trace: got the metrics {names}, n_samples={n_samples}, and prompts without "
            f"an answer {silent[:4]}, expected different metrics, at least one sample, and an "
            "answer for each prompt: MeasuredRun(..., answer=(token,))."
        )
