"""``slm-lens app``: the app, in a browser on this machine."""

from typing import Annotated

import typer

from slm_lens.cli.model_options import ModelOptions

_EMBEDDED, _CONTROL = "organism", "organism-control"


def serve_app(
    options: ModelOptions,
    model: Annotated[
        str, typer.Argument(help="Embedded model, folder or hub id (owner/name).")
    ] = _EMBEDDED,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            help="Another model to offer; may be given several times. Beside 'organism' alone its "
            "positive control is offered."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; else the first free one from 7860.")
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share", help="Ask gradio's servers for a public address: whoever has it can use it."
        ),
    ] = False,
    max_seconds: Annotated[float, typer.Option(min=1, help="Longest clip.")] = 30.0,
    max_megabytes: Annotated[float, typer.Option(min=0.1, help="Largest upload.")] = 10.0,
) -> None:
    """Look, patch, compare and steer in a browser; needs the extra 'app'."""
    from slm_lens.app.limits import Limits
    from slm_lens.app.serve import serve

    others = ([_CONTROL] if model == _EMBEDDED else []) if beside is None else beside
    names = list(dict.fromkeys([model, *others]))
    typer.echo(f"Loading {', '.join(names)} ...")
    limits = Limits(max_seconds=max_seconds, max_bytes=round(max_megabytes * 1e6))
    served = serve(
        {name: options.load(name) for name in names},
        host=host,
        port=port,
        share=share,
        limits=limits,
    )
    typer.echo(f"slm-lens app: {served.url}  (Ctrl-C ends it)")
    if served.share_url:
        typer.echo(f"public, for whoever has the address: {served.share_url}")
    served.wait()
