"""Serve the app: on this machine alone unless told otherwise, and without a request to another."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slm_lens.app.cards import CSS
from slm_lens.app.limits import Limits
from slm_lens.app.workbench import Workbench
from slm_lens.model.hooked import HookedSLM

if TYPE_CHECKING:
    import gradio as gr

LOOPBACK = "127.0.0.1"
EXAMPLE = "the zebra lives in the"
_SESSIONS = 200
# Around Okabe and Ito's blue, from light to dark: white on the sixth has a contrast of 5.2.
_BLUES = ("#eef6fb", "#d8eaf5", "#b0d4ea", "#7fb9dc", "#3f97c9", "#0072b2", "#00629a", "#00527f",
          "#003f63", "#002d47", "#001b2b")  # fmt: skip
_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'"
)
# gradio puts its own container before every rule of `css`, so what is around that stands here.
_NARROW = (
    "<style>@media (max-width: 500px) {.gradio-container .main.app {padding: 8px !important}}"
    "</style>"
)
# Pages of views tell their height; in a notebook their own script listens, here this one does.
_FRAME_HEIGHTS = """() => window.addEventListener("message", (event) => {
  const height = event.data && event.data.slmLensHeight;
  if (typeof height !== "number" || !(height > 0 && height < 20000)) return;
  for (const frame of document.querySelectorAll("iframe.slm-lens"))
    if (frame.contentWindow === event.source) frame.style.height = `${Math.ceil(height)}px`;
})"""


@dataclass(frozen=True)
class Served:
    """A running app.

    Attributes:
        url: its address on this machine.
        share_url: its public address; None unless it is shared.
        blocks: what runs.
    """

    url: str
    share_url: str | None
    blocks: "gr.Blocks"

    def wait(self) -> None:
        """Serve until Ctrl-C."""
        self.blocks.block_thread()

    def close(self) -> None:
        """Stop serving."""
        self.blocks.close(verbose=False)


def serve(
    models: Mapping[str, HookedSLM],
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    share: bool = False,
    limits: Limits | None = None,
    example: str = EXAMPLE,
) -> Served:
    """Start the app and return.

    Args:
        models: by the names under which they are offered, the first one chosen at the beginning.
        host: address to listen on; ``"0.0.0.0"`` for every network that this machine is in.
        port: port to listen on; None for the first free one from 7860 on.
        share: ask gradio's servers for a public address. **Everybody who has it can use the app**.
        limits: the largest inputs.
        example: sentence in the text box at the beginning.

    Returns:
        The running app.

    Raises:
        ImportError: gradio is not installed.
        AttributeError: a model has no unit tokenizer.
        ValueError: there is no model.
        OSError: the port is taken, or the address is not one of this machine.
    """  # noqa: DOC502 (some raised by the parts)
    _refuse_taken(host, port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise ImportError("The app needs gradio: pip install 'slm-lens[app]'") from None
    from gradio.themes import Color, Default
    from starlette.middleware import Middleware

    from slm_lens.app.blocks import make_blocks

    for model in models.values():
        _ = model.unit_tokenizer  # without one, nothing can be heard: say so now
    bench = Workbench(models, limits)
    blocks = make_blocks(bench, example=example)
    theme = Default(
        primary_hue=Color(*_BLUES, name="okabe-ito"),
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    filled = {f"button_primary_background_fill{end}": "*primary_500" for end in ("", "_dark")}
    hovered = {f"button_primary_background_fill_hover{e}": "*primary_600" for e in ("", "_dark")}
    theme.set(**filled, **hovered)
    _, url, share_url = blocks.launch(
        server_name=host,
        server_port=port,
        share=share,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        show_error=False,
        max_file_size=bench.limits.max_bytes,
        state_session_capacity=_SESSIONS,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=theme,
        css=CSS,
        head=_NARROW,
        js=_FRAME_HEIGHTS,
        app_kwargs={"middleware": [Middleware(_PolicyHeader)]},
    )
    return Served(url, share_url or None, blocks)


def _refuse_taken(host: str, port: int | None) -> None:
    """Refuse what cannot be listened on; gradio tries a hundred ports, and names its options.

    Raises:
        OSError: the port is taken, or the address is not one of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port or 0), family=family).close()
    except OSError as error:
        reason = str(error.strerror).split(" (while")[0]
        raise OSError(
            f"serve: got host={host!r} and port={port}, expected an address of this machine and a "
            f"free port ({reason}). Leave the port out for the first free one from 7860, "
            f"or the host for {LOOPBACK}."
        ) from None


class _PolicyHeader:
    """Tells the browser to ask nobody but this app, whatever a page holds."""

    def __init__(self, app: object) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        async def with_policy(message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"], (b"content-security-policy", _POLICY.encode())
                ]  # fmt: skip
            await send(message)

        await self._app(scope, receive, with_policy)  # pyright: ignore[reportCallIssue]
