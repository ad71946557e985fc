"""``slm-lens continue``: continue a prompt with a vector added to the residual stream."""

from pathlib import Path
from typing import Annotated

import typer

from slm_lens.cli.model_options import ModelName, ModelOptions
from slm_lens.cli.out_folder import require_folder
from slm_lens.cli.pair_options import Modality, decimals
from slm_lens.cli.patch import Progress


def continue_prompt(
    model: ModelName,
    prompt: Annotated[str, typer.Argument(help="Text, or with --audio a sound file.")],
    toward: Annotated[str, typer.Option(help="'text', 'speech', or a word.")],
    layer: Annotated[int, typer.Option(min=0, help="Block of the vector.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for table and facts.")],
    options: ModelOptions,
    audio: Annotated[bool, typer.Option("--audio", help="The prompt is a sound file.")] = False,
    away: Annotated[
        str | None, typer.Option(help="'text', 'speech', or a word: taken off the vector.")
    ] = None,
    before: Annotated[
        bool, typer.Option("--before", help="Add it before the block, not after it.")
    ] = False,
    strengths: Annotated[
        str, typer.Option(help="Lengths of the states, such as 0,0.5,1; negative ones steer away.")
    ] = "0,0.5,1",
    start: Annotated[
        int | None, typer.Option(min=0, help="First position steered; else the prompt's last.")
    ] = None,
    decay: Annotated[
        int | None, typer.Option(min=1, help="Positions over which the vector fades.")
    ] = None,
    continue_in: Annotated[
        Modality | None, typer.Option(help="Announce this modality after the prompt.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 20,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 takes the likeliest token; above 0 samples.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    progress: Progress = True,
) -> None:
    """Continue a prompt with a direction added, by how strongly."""
    from slm_lens.report.steering_report import report_steering
    from slm_lens.sequence.utterance import Utterance
    from slm_lens.studies.steer_prompt import steer_prompt

    wanted = decimals("--strengths", strengths)
    require_folder(out)
    slm = options.load(model)
    announced = None if continue_in is None else continue_in.value
    read = slm.sequence_from_audio if audio else slm.sequence_from_text
    steered = steer_prompt(
        slm,
        Utterance(prompt, read(prompt, continue_in=announced)),
        toward,
        wanted,
        layer=layer,
        away=away,
        kind="resid_pre" if before else "resid_post",
        start=start,
        decay=decay,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )
    report_steering(steered, out)
