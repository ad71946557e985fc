"""Small pieces of HTML for the app. Everything that a visitor or a model wrote is escaped.

Colours of the heat map run from brown over white (no effect) to blue-green, as in
`slm_lens.effects_heat_map`; each cell has its number as well.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import polars as pl
import soundfile
from jaxtyping import Float
from torch import Tensor

from slm_lens.app.hearing import Heard
from slm_lens.app.steering import Continued
from slm_lens.interventions.patching.patching_result import Patching

CSS = """
.slm-card {border: 1px solid #8886; border-radius: 8px; padding: 10px 14px; margin: 6px 0;
  overflow-x: auto}
.slm-card h2 {margin: 0 0 6px; font-size: 1rem}
.slm-card p {margin: 4px 0}
.slm-card audio {width: 100%; max-width: 420px; height: 36px; display: block; margin: 6px 0}
.slm-words span {display: inline-block; margin: 0 .45em .2em 0}
.slm-words small, .slm-note {opacity: .85; font-size: .85rem}
.slm-units {font-variant-numeric: tabular-nums; overflow-wrap: anywhere}
.slm-units b {font-weight: 600}
.slm-card .slm-heat {border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .85rem; width: auto}
.slm-card .slm-heat :is(th, td) {border: 1px solid #8884; padding: 3px 7px}
.slm-card .slm-heat th {font-weight: 500; text-align: center; white-space: nowrap}
.slm-card .slm-heat td {text-align: right; min-width: 3.2em}
.slm-error {border-color: #c0392b; border-left-width: 6px}
.slm-progress progress {width: 12em; vertical-align: middle}
iframe.slm-lens {width: 100%; border: 0}
.dark {--color-accent: #56b4e9}
:is(.min_value, .max_value) {color: var(--body-text-color-subdued) !important}
@media (min-width: 700px) {.slm-pair {display: grid; grid-template-columns: 1fr 1fr; gap: 10px}}
@media (max-width: 500px) {.html-container {padding: 4px 2px !important}}
"""
_BROWN, _GREEN = (140, 81, 10), (1, 102, 94)
NOT_A_VOICE = (
    "Played with pieces of the held-out clips that were encoded as these units. The model has no "
    "voice: who speaks, how fast and how high is the clips' doing, not the model's."
)


def heard_card(heard: Heard, n_units: int, *, player: bool = True) -> str:
    """What was heard: player, length, words.

    Args:
        heard: the clip.
        n_units: units that the model reads it as.
        player: with a player; the page of an exploration has its own.

    Returns:
        HTML.
    """
    words = "".join(
        f'<span data-word="{i}">{escape(w.word)} <small>{w.start_s:.2f} s</small></span>'
        for i, w in enumerate(heard.alignment or ())
    )
    if heard.alignment is None:
        said = (
            '<p class="slm-note">Words are not known: give their times, or type what is said.</p>'
        )
    else:
        rough = " Their times are rough." if "roughly" in heard.words_from else ""
        said = f'<p class="slm-words">{words}</p><p class="slm-note">Words from: '
        said += f"{escape(heard.words_from)}.{rough}</p>"
    played = _player(heard.waveform, heard.sample_rate_hz, "what was heard") if player else ""
    return (
        f'<div class="slm-card" data-card="heard"><h2>{escape(heard.name)}</h2>'
        f"<p>{heard.duration_s:.2f} s, {n_units} units</p>"
        f"{played}{said}</div>"
    )


def steered_card(found: Sequence[Continued], sounds: Sequence[Tensor | None], rate_hz: int) -> str:
    """Continuations without and with a vector, side by side.

    Args:
        found: the continuations.
        sounds: for each, its units made audible; None for none.
        rate_hz: samples per second of the sounds.

    Returns:
        HTML.
    """
    cards = []
    for one, sound in zip(found, sounds, strict=True):
        title = "As the model is" if one.strength == 0 else f"Steered, strength {one.strength:g}"
        text = f'<p class="slm-text"><b>{escape(one.text)}</b></p>' if one.n_text else ""
        tokens = ""
        if one.n_speech:
            pairs = zip(one.labels, one.unit_at, strict=True)
            tokens = " ".join(_token(label, unit) for label, unit in pairs)
        if text and tokens:
            tokens = f"Token by token: {tokens}"
        played = ""
        if sound is not None:
            played = _player(sound, rate_hz, f"units of: {title}")
            played += f'<p class="slm-note">{NOT_A_VOICE}</p>'
        cards.append(
            f'<div class="slm-card" data-card="steered" data-strength="{one.strength:g}">'
            f"<h2>{title}</h2><p>{_count(one.n_text, 'token')} of text, "
            f"{_count(one.n_speech, 'unit')}</p>{text}"
            f'<p class="slm-units">{tokens}</p>{played}</div>'
        )
    return f'<div class="slm-pair">{"".join(cards)}</div>'


def patching_card(
    places: Sequence[str], table: pl.DataFrame, patching: Patching, answer: str, foil: str
) -> str:
    """Recovery by layer and word.

    Args:
        places: names of the columns.
        table: what `by_place` gave.
        patching: what it was made from.
        answer: how the clean run's answer is written.
        foil: how the corrupted run's is.

    Returns:
        HTML.
    """
    clean, corrupted = (float(patching.table[side][0]) for side in ("clean", "corrupted"))
    columns = table["place"].unique(maintain_order=True).to_list()
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    rows = []
    values = {(r["layer"], r["place"]): r["estimate"] for r in table.iter_rows(named=True)}
    for layer in sorted(table["layer"].unique().to_list(), reverse=True):
        cells = "".join(_cell(layer, place, values[layer, place]) for place in columns)
        rows.append(f'<tr><th scope="row">{layer}</th>{cells}</tr>')
    kind = "noised" if patching.direction == "noising" else "denoised"
    share = "lost" if kind == "noised" else "won back"
    return (
        f'<div class="slm-card" data-card="patching"><h2>{escape(answer)} or {escape(foil)}?</h2>'
        f"<p>Logit of <b>{escape(answer)}</b> less that of <b>{escape(foil)}</b>: {clean:.2f} "
        f"after the sentence, {corrupted:.2f} after the one with the other word. Each cell: the "
        f"share of this difference that is {share} when {escape(patching.table['kind'][0])} of "
        f"that block (upwards) at that word is taken from the other run.</p>"
        f'<p class="slm-note">{len(places)} words, {kind} one by one.</p>'
        f'<table class="slm-heat"><thead><tr><th scope="col">block</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def framed(shown: object) -> str:
    """What shows itself in a notebook, as a frame.

    Args:
        shown: an object with ``_repr_html_`` that gives an ``<iframe>``, and perhaps a script
            that listens to it: that does not run here, the app has its own.

    Returns:
        HTML of the frame alone.
    """
    given: str = shown._repr_html_()  # pyright: ignore[reportAttributeAccessIssue]
    end = given.index("</iframe>") + len("</iframe>")  # the page inside is escaped
    return given[:end]


def words_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain values.

    Args:
        title: heading.
        columns: names.
        rows: values, in the order of the columns.

    Returns:
        HTML.
    """
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="slm-card" data-card="table"><h2>{escape(title)}</h2><table class="slm-heat">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(layer: int, place: str, value: float) -> str:
    depth = min(1.0, abs(value))
    end, white_from = (_GREEN, 0.82) if value > 0 else (_BROWN, 0.85)
    red, green, blue = (round(255 + (c - 255) * depth) for c in end)
    ink = "#fff" if depth > white_from else "#000"  # whichever has a contrast of 4.5
    return (
        f'<td data-layer="{layer}" data-place="{escape(place)}" data-value="{value:.4f}" '
        f'style="background:rgb({red},{green},{blue});color:{ink}">{value:z.2f}</td>'
    )


def _count(n: int, name: str) -> str:
    return f"{n} {name}" + ("" if n == 1 else "s")


def _token(label: str, unit: int | None) -> str:
    """Units as bare numbers, everything else as it is written."""
    if unit is not None:
        return f'<span data-unit="{unit}">{unit}</span>'
    return f"<b>{escape(label.strip())}</b>"


def _player(waveform: Float[Tensor, " n_samples"], sample_rate_hz: int, label: str) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.numpy(), sample_rate_hz, format="WAV", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<audio controls preload="metadata" aria-label="{escape(label)}" '
        f'src="data:audio/wav;base64,{data}"></audio>'
    )
