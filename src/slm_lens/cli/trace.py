"""``slm-lens trace``: causal tracing of the subjects of prompts."""

from enum import StrEnum
from typing import Annotated

import typer

from slm_lens.cli.model_options import ModelName, ModelOptions
from slm_lens.cli.out_folder import require_folder
from slm_lens.cli.pair_options import PairOptions, PairsName, numbers
from slm_lens.cli.patch import Layers, Memory, MetricName, Out, Progress, metrics_of


class TraceKind(StrEnum):
    """What is restored."""

    resid_post = "resid_post"
    resid_mid = "resid_mid"
    resid_pre = "resid_pre"
    mlp_out = "mlp_out"
    attn_out = "attn_out"


class TraceAt(StrEnum):
    """What is restored together."""

    roles = "roles"
    positions = "positions"
    subject = "subject"
    all = "all"


class Severed(StrEnum):
    """What is cut off behind it."""

    mlp_out = "mlp_out"
    attn_out = "attn_out"


class Unanswered(StrEnum):
    """What becomes of prompts that the model does not answer."""

    leave_out = "leave_out"
    keep = "keep"


def trace(
    model: ModelName,
    pairs: PairsName,
    out: Out,
    options: ModelOptions,
    pair_options: PairOptions,
    kind: Annotated[
        TraceKind, typer.Option(help="Activation that is restored.")
    ] = TraceKind.resid_post,
    metric: Annotated[
        list[MetricName] | None,
        typer.Option(help="What is measured; may be given several times. [default: probability]",
                     show_default=False),
    ] = None,
    at: Annotated[TraceAt, typer.Option(help="What is restored together.")] = TraceAt.roles,
    layers: Layers = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Layers restored together; else a fifth, 1 of the stream."),
    ] = None,
    severed: Annotated[
        Severed | None, typer.Option(help="Outputs that stay corrupted behind what is restored.")
    ] = None,
    unanswered: Annotated[
        Unanswered, typer.Option(help="Prompts that the model does not answer.")
    ] = Unanswered.leave_out,
    noise_scale: Annotated[
        float, typer.Option(help="Noise in standard deviations of the subjects' embeddings.")
    ] = 3.0,
    samples: Annotated[int, typer.Option(min=1, help="Noise samples of each prompt.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    memory_mb: Memory = 256.0,
    progress: Progress = True,
) -> None:  # fmt: skip
    """Trace where the clean runs of pairs have their answer: noise on the word that differs."""
    from slm_lens.interventions.tracing.causal_trace import causal_trace
    from slm_lens.interventions.tracing.traced_subjects import subject_runs
    from slm_lens.report.effects_report import report_tracing

    chosen, at_layers = metrics_of(metric or [MetricName.probability]), numbers("--layers", layers)
    require_folder(out)
    slm = options.load(model)
    found, counted = pair_options.load(slm, pairs)
    tracing = causal_trace(
        slm,
        subject_runs(found, repeated="once"),
        kind.value,
        metrics=chosen,
        at=at.value,
        layers=at_layers,
        window=window,
        severed=None if severed is None else severed.value,
        unanswered=unanswered.value,
        noise_scale=noise_scale,
        n_samples=samples,
        seed=seed,
        memory_mb=memory_mb,
        progress=progress,
    )
    report_tracing(tracing, counted, out)
