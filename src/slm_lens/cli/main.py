"""The application: registers one file of commands each."""

import os

import typer

from slm_lens.cli import (
    continue_prompt,
    convert,
    encode,
    families,
    inspect,
    organism,
    patch,
    phases,
    report,
    run,
    serve_app,
    steer,
    study,
    trace,
    tuned_lens,
)  # fmt: skip
from slm_lens.cli.model_options import Dtype, with_options

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Mechanistic interpretability of interleaved speech-text language models.",
)
app.command("families")(families.families)
app.command("inspect")(with_options(inspect.inspect, dtype=Dtype.stored))
app.command("encode")(with_options(encode.encode, dtype=Dtype.stored))
app.command("phases")(with_options(phases.phases, dtype=Dtype.float32))
app.command("patch")(with_options(patch.patch, dtype=Dtype.float32))
app.command("trace")(with_options(trace.trace, dtype=Dtype.float32))
app.command("steer")(with_options(steer.steer, dtype=Dtype.float32))
app.command("continue")(with_options(continue_prompt.continue_prompt, dtype=Dtype.float32))
app.command("app")(with_options(serve_app.serve_app, dtype=Dtype.float32))
app.command("demo")(phases.demo)
app.command("report")(report.report)
app.command("run")(run.run)
app.command("study")(with_options(study.study, dtype=Dtype.float32))
app.command("convert")(with_options(convert.convert, dtype=Dtype.stored))
app.command("convert-kmeans")(convert.convert_kmeans)
app.add_typer(organism.app, name="organism")
tuned_lens.app.command("fit")(with_options(tuned_lens.fit, dtype=Dtype.float32))
app.add_typer(tuned_lens.app, name="tuned-lens")


def main() -> None:
    """Run ``slm-lens``; a refused input ends with its message.

    The variable ``SLM_LENS_TRACEBACK``, when set, shows the traceback instead.
    """  # noqa: DOC501 (passes on what a command raises)
    from slm_lens.errors import SlmLensError

    try:
        app()
    except (
        SlmLensError, ValueError, TypeError, LookupError, AttributeError, ImportError, OSError
    ) as error:  # fmt: skip
        if os.environ.get("SLM_LENS_TRACEBACK"):
            raise
        typer.secho(f"error: {error}", fg="red", err=True)
        raise SystemExit(2) from None
