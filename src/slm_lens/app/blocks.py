"""The app's page: gradio components, and which of them goes into which event."""

from typing import Any

import gradio as gr

from slm_lens.app.events import WHOLE, Events
from slm_lens.app.hearing import VOICES
from slm_lens.app.workbench import Workbench

_SESSION_S = 3600  # what a visitor heard is dropped after an hour
_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
_QUEUE = 64
_LOOK = "look"
_KINDS = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"]
_ANNOUNCE = [("text", "text"), ("speech", "speech"), ("nothing: as it stands", "nothing")]
_INTRODUCTION = (
    "<h1>slm-lens</h1><p>What a speech-text model makes of a sentence, layer by layer. Type or "
    "record one; then look at it, exchange a word, compare two models, or steer what follows.</p>"
)


def make_blocks(bench: Workbench, *, example: str) -> gr.Blocks:
    """The page.

    Args:
        bench: what it calls.
        example: sentence that stands in the text box at the beginning.

    Returns:
        Blocks with a queue, to be launched.
    """
    names = list(bench.models)
    events = Events(bench)
    with gr.Blocks(
        title="slm-lens", analytics_enabled=False, delete_cache=(_SESSION_S, _SESSION_S)
    ) as blocks:
        heard = gr.State(None, time_to_live=_SESSION_S)
        gr.HTML(_INTRODUCTION)
        model = gr.Radio(names, value=names[0], label="Model", elem_id="model")
        reading = _reading(bench, events, example)
        with gr.Tabs() as tabs:
            with gr.Tab("Look", id=_LOOK):
                out = gr.HTML(elem_id="look-out")
            with gr.Tab("Exchange a word"):
                word, end, *patched = _patch(events, model, heard)
            with gr.Tab("Compare", visible=len(names) > 1):
                compared = _compare(events, names, model, heard)
            with gr.Tab("Steer"):
                layer, steered_end, *steered = _steer(bench, events, model, heard)
        outs, runs = zip(patched, compared, steered, strict=True)
        # What was found of one sentence or model is not to be taken for another one's.
        clear: dict[str, Any] = {"cancels": list(runs), "api_visibility": "private", "queue": False}
        for listener, name, function, inputs, stop in reading:
            listener(lambda: ("", "", "", gr.update(selected=_LOOK)), None, [*outs, tabs], **clear)
            event = listener(
                function, [model, *inputs], [heard, out, word, end, steered_end], api_name=name,
                scroll_to_output=False, show_progress="minimal", show_progress_on=out, **_AT_A_TIME,
            )  # fmt: skip
            stop.click(None, cancels=[event])
        model.change(lambda: ("", "", ""), None, [*outs], **clear)
        model.change(events.layers, model, layer, api_visibility="private", queue=False)
        model.change(
            events.read_again, [model, heard], out, api_name="read_again",
            show_progress="minimal", **_AT_A_TIME,
        )  # fmt: skip
    blocks.queue(api_open=False, max_size=_QUEUE, default_concurrency_limit=1)
    return blocks


def _reading(bench: Workbench, events: Events, example: str) -> list[tuple[Any, ...]]:
    """Where sentences come in: listener, name, handler, inputs and stop button of each event."""
    limits = bench.limits
    with gr.Tabs():
        with gr.Tab("Type"):
            with gr.Row():
                text = gr.Textbox(
                    example, label=f"Sentence (up to {limits.max_characters} characters)",
                    lines=2, max_lines=4, scale=4, min_width=280, elem_id="sentence",
                )  # fmt: skip
                voice = gr.Dropdown(
                    list(VOICES), value=VOICES[0], label="Voice of espeak-ng", scale=1
                )
            with gr.Row():
                speak = gr.Button("Speak and read", variant="primary", elem_id="speak")
                stop_text = gr.Button("Stop", scale=0)
        with gr.Tab("Record or upload"):
            at_most = f"up to {limits.max_seconds:g} s and {limits.max_bytes / 1e6:g} MB"
            with gr.Row():
                clip = gr.Audio(
                    sources=["upload", "microphone"], type="filepath", editable=False, buttons=[],
                    label=f"WAV, FLAC or OGG, {at_most}", elem_id="clip",
                )  # fmt: skip
                with gr.Column():
                    words = gr.File(
                        label="Word times, if there are any (TextGrid, JSON, CTM)", height=150,
                        elem_id="words-file",
                    )  # fmt: skip
                    said = gr.Textbox(
                        "", label="Or what is said: words are then found roughly", elem_id="said"
                    )
            with gr.Row():
                listen = gr.Button("Read", variant="primary", elem_id="listen")
                stop_clip = gr.Button("Stop", scale=0)
    return [
        (speak.click, "read_text", events.read_text, [text, voice], stop_text),
        (listen.click, "read_clip", events.read_clip, [clip, words, said], stop_clip),
    ]


def _patch(events: Events, model: gr.Radio, heard: gr.State) -> tuple[Any, ...]:
    """Exchange a word: the choices of words, of where the prompt ends, the result and its event."""
    gr.HTML(
        "<p>Both sentences are spoken by espeak-ng in one voice, so that they differ in this word "
        "alone. Then each word's state in one is put into the other, block by block.</p>"
    )
    with gr.Row():
        word = gr.Dropdown([], label="Exchange", elem_id="word", interactive=True)
        other = gr.Textbox("", label="for", placeholder="another word", elem_id="replacement")
        end = _prompt_end("patch-end")
        announce = gr.Radio(_ANNOUNCE, value="text", label="Then comes")
    with gr.Accordion("More", open=False), gr.Row():
        answer = gr.Textbox("", label="Answer", placeholder="what the model finds likeliest")
        foil = gr.Textbox("", label="Foil", placeholder="the same, after the other sentence")
        kind = gr.Dropdown(_KINDS, value=_KINDS[0], label="What is moved")
        direction = gr.Radio(["denoising", "noising"], value="denoising", label="Direction")
        voice = gr.Dropdown(list(VOICES), value=VOICES[0], label="Voice")
    run, stop = _run_and_stop("Patch", "patch")
    out = gr.HTML(elem_id="patch-out")
    event = run.click(
        events.patch,
        [model, heard, word, other, voice, end, announce, answer, foil, kind, direction],
        out, api_name="patch", show_progress="minimal", **_AT_A_TIME,
    )  # fmt: skip
    stop.click(None, cancels=[event])
    return word, end, out, event


def _compare(events: Events, names: list[str], model: gr.Radio, heard: gr.State) -> tuple[Any, ...]:
    """Compare: the result and its event."""
    other = gr.Radio(names, value=names[-1], label="Compare the model above with", elem_id="other")
    run, stop = _run_and_stop("Compare", "compare")
    out = gr.HTML(elem_id="compare-out")
    event = run.click(
        events.compare, [model, heard, other], out, api_name="compare", show_progress="minimal",
        **_AT_A_TIME,
    )  # fmt: skip
    stop.click(None, cancels=[event])
    return out, event


def _steer(bench: Workbench, events: Events, model: gr.Radio, heard: gr.State) -> tuple[Any, ...]:
    """Steer: the slider of layers, the choices of where the prompt ends, the result, its event."""
    last = next(iter(bench.models.values())).cfg.n_layers - 1
    with gr.Row():
        toward = gr.Dropdown(
            ["text", "speech"], value="text", allow_custom_value=True, elem_id="toward",
            label="Toward text, speech, or a word that you type",
        )  # fmt: skip
        strength = gr.Slider(
            -2, 2, value=1, step=0.1, label="Strength, in lengths of the states",
            elem_id="strength",
        )  # fmt: skip
        layer = gr.Slider(0, last, value=last // 2, step=1, label="Behind block")
    with gr.Row():
        end = _prompt_end("steer-end")
        announce = gr.Radio(_ANNOUNCE, value="nothing", label="Then comes")
        n_tokens = gr.Slider(1, bench.limits.max_new_tokens, value=20, step=1, label="New tokens")
        temperature = gr.Slider(0, 2, value=0, step=0.1, label="Temperature (0: the likeliest)")
    run, stop = _run_and_stop("Continue", "steer")
    out = gr.HTML(elem_id="steer-out")
    event = run.click(
        events.steer,
        [model, heard, toward, strength, layer, end, announce, n_tokens, temperature],
        out, api_name="steer", show_progress="minimal", **_AT_A_TIME,
    )  # fmt: skip
    stop.click(None, cancels=[event])
    return layer, end, out, event


def _prompt_end(elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(
        [("with the clip", WHOLE)], value=WHOLE, label="The prompt ends",
        elem_id=elem_id, interactive=True,
    )  # fmt: skip


def _run_and_stop(name: str, elem_id: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        run = gr.Button(name, variant="primary", elem_id=elem_id)
        stop = gr.Button("Stop", scale=0, elem_id=f"{elem_id}-stop")
    return run, stop
