"""``slm-lens steer``: dose and response of a direction, for pairs of runs."""

from enum import StrEnum
from typing import Annotated

import typer

from slm_lens.cli.model_options import ModelName, ModelOptions
from slm_lens.cli.out_folder import require_folder
from slm_lens.cli.pair_options import PairOptions, PairsName, decimals, numbers
from slm_lens.cli.patch import Layers, Memory, MetricName, Out, Progress, metrics_of


class SteeredBy(StrEnum):
    """What is added."""

    answers = "answers"
    difference = "difference"


class SteeredRole(StrEnum):
    """Where it is added."""

    start = "start"
    before = "before"
    changed = "changed"
    after = "after"
    end = "end"


def steer(
    model: ModelName,
    pairs: PairsName,
    out: Out,
    options: ModelOptions,
    pair_options: PairOptions,
    vector: Annotated[
        SteeredBy,
        typer.Option(help="answers: from foil to answer; difference: clean less corrupted states "
                     "of the other pairs."),
    ] = SteeredBy.answers,
    role: Annotated[
        SteeredRole, typer.Option(help="Where in the corrupted run it is added.")
    ] = SteeredRole.changed,
    strengths: Annotated[
        str, typer.Option(help="Lengths of the states, such as 0,0.5,1; negative ones steer away.")
    ] = "-1,-0.5,0.5,1",
    metric: Annotated[
        list[MetricName] | None,
        typer.Option(help="What is measured; may be given several times. [default: "
                     "logit_difference]", show_default=False),
    ] = None,
    before: Annotated[
        bool, typer.Option("--before", help="Add it before the block, not after it.")
    ] = False,
    layers: Layers = None,
    random: Annotated[int, typer.Option(min=0, help="Random vectors beside it.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the random vectors.")] = 0,
    memory_mb: Memory = 256.0,
    progress: Progress = True,
) -> None:  # fmt: skip
    """Add a direction to the corrupted runs of pairs: how much of it does how much?"""
    from slm_lens.report.effects_report import report_dose_response
    from slm_lens.studies.steer_pairs import steer_pairs

    chosen = metrics_of(metric or [MetricName.logit_difference])
    wanted, at_layers = decimals("--strengths", strengths), numbers("--layers", layers)
    require_folder(out)
    slm = options.load(model)
    found, counted = pair_options.load(slm, pairs)
    response = steer_pairs(
        slm,
        found,
        wanted,
        vector=vector.value,
        role=role.value,
        kind="resid_pre" if before else "resid_post",
        layers=at_layers,
        metrics={m.name: m for m in chosen},
        n_random=random,
        seed=seed,
        memory_mb=memory_mb,
        progress=progress,
    )
    report_dose_response(response, f"{vector.value} at {role.value}; {counted}", out)
