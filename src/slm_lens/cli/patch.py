"""``slm-lens patch``: states of one run put into another, for pairs of runs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slm_lens.cli.model_options import ModelName, ModelOptions
from slm_lens.cli.out_folder import require_folder
from slm_lens.cli.pair_options import PairOptions, PairsName, numbers

if TYPE_CHECKING:
    from slm_lens.interventions.metrics import Metric


class Kind(StrEnum):
    """What is patched."""

    resid_pre = "resid_pre"
    resid_mid = "resid_mid"
    resid_post = "resid_post"
    attn_out = "attn_out"
    mlp_out = "mlp_out"
    q = "q"
    k = "k"
    v = "v"
    z = "z"
    pattern = "pattern"


class MetricName(StrEnum):
    """What is measured."""

    logit_difference = "logit_difference"
    log_prob = "log_prob"
    probability = "probability"
    rank = "rank"
    kl = "kl"
    text_mass = "text_mass"
    speech_mass = "speech_mass"
    next_unit_log_prob = "next_unit_log_prob"


class Direction(StrEnum):
    """Which run is patched."""

    denoising = "denoising"
    noising = "noising"


class At(StrEnum):
    """What is patched together."""

    words = "words"
    roles = "roles"
    positions = "positions"
    all = "all"


class Fit(StrEnum):
    """How spans of unequal length are brought together."""

    warp = "warp"
    mean = "mean"
    ends = "ends"
    equal = "equal"


Layers = Annotated[str | None, typer.Option(help="Layers, such as 0,3,5-7; all if left out.")]
Out = Annotated[Path, typer.Option(file_okay=False, help="Folder for table, facts and figure.")]
Progress = Annotated[bool, typer.Option(help="Show a progress bar on a terminal.")]
Memory = Annotated[float, typer.Option(min=1, help="Memory for a batch of runs, 10^6 bytes.")]


def patch(
    model: ModelName,
    pairs: PairsName,
    out: Out,
    options: ModelOptions,
    pair_options: PairOptions,
    kind: Annotated[Kind, typer.Option(help="Activation that is patched.")] = Kind.resid_pre,
    metric: Annotated[
        list[MetricName] | None,
        typer.Option(help="What is measured; may be given several times. [default: "
                     "logit_difference]", show_default=False),
    ] = None,
    direction: Annotated[
        Direction,
        typer.Option(help="denoising: clean states into the corrupted run; noising: the reverse."),
    ] = Direction.denoising,
    at: Annotated[At, typer.Option(help="What is patched together.")] = At.words,
    fit: Annotated[Fit, typer.Option(help="How unequal lengths are brought together.")] = Fit.warp,
    layers: Layers = None,
    heads: Annotated[
        str | None, typer.Option(help="Heads, such as 0,2, or 'each'; all together if left out.")
    ] = None,
    source_layers: Annotated[
        str | None, typer.Option(help="Layers that states are taken from; else the same.")
    ] = None,
    memory_mb: Memory = 256.0,
    progress: Progress = True,
) -> None:  # fmt: skip
    """Patch pairs of runs: which layer and word carries the answer?"""
    from slm_lens.interventions.patching.patch_pairs import patch_pairs
    from slm_lens.report.effects_report import report_patching

    chosen = metrics_of(metric or [MetricName.logit_difference])
    at_layers, from_layers = numbers("--layers", layers), numbers("--source-layers", source_layers)
    at_heads = "each" if heads == "each" else numbers("--heads", heads)
    require_folder(out)
    slm = options.load(model)
    found, counted = pair_options.load(slm, pairs)
    patching = patch_pairs(
        slm,
        found,
        kind.value,
        metrics=chosen,
        direction=direction.value,
        at=at.value,
        fit=fit.value,
        layers=at_layers,
        heads=at_heads,
        source_layers="same" if from_layers is None else from_layers,
        memory_mb=memory_mb,
        progress=progress,
    )
    report_patching(patching, counted, out)


def metrics_of(names: list[MetricName]) -> "list[Metric]":
    """Metrics by their names on the command line.

    Args:
        names: which.

    Returns:
        The metrics, in order; text and speech mass are told apart by their names.
    """
    from slm_lens.interventions.named_metrics import named_metrics

    return named_metrics([name.value for name in names], "--metric")
