"""Figures and page of the study ``features``, from its tables."""

import re
from typing import cast

import polars as pl

from slm_lens.corpus.folder import clips_of
from slm_lens.features.dashboard import FeatureDashboard
from slm_lens.speech.audio import read_audio
from slm_lens.studies.study_result import StudyResult
from slm_lens.views._table import curve
from slm_lens.views.chart import PAGE_INCHES, Chart, Key
from slm_lens.views.feature_page import feature_page
from slm_lens.views.page import Page
from slm_lens.views.panel import Axis, Line, Panel, Rule, layer_axis
from slm_lens.views.style import Dash, Ink

_TAGS = {"speech": Ink("speech", marker="circle"), "text": Ink("text", marker="square"),
         "mixed": Ink("black", marker="diamond")}  # fmt: skip
_CONTROLS: dict[str, Dash] = {"random weights": "dashed", "random directions": "dotted"}
_WORDS = {
    ("speech", "current"): Ink("speech", "solid", "circle"),
    ("speech", "next"): Ink("speech", "dashed", "circle"),
    ("text", "current"): Ink("text", "solid", "square"),
    ("text", "next"): Ink("text", "dashed", "square"),
    ("both", "current"): Ink("black", "solid", "diamond"),
}
_READINGS = {
    "written": ("word, after text", Ink("text", "solid", "square")),
    "heard": ("word in text, after speech", Ink("blue", "solid", "triangle")),
    "spoken": ("its first unit, after speech", Ink("speech", "solid", "circle")),
}
_SAMPLE_RATE_HZ = 16000  # which Opus has


def features_figures(result: StudyResult) -> dict[str, Chart]:
    """One chart for each model: tags, explained variance, words and steering.

    Args:
        result: of the study ``features``.

    Returns:
        The charts by the names of their files.
    """
    return {f"features-{_slug(model)}": _chart(result, model) for model in _models(result)}


def features_pages(result: StudyResult) -> dict[str, Page]:
    """The page of features of each model, with the sound of its clips.

    Args:
        result: of the study ``features``; its clips are read from the folder that it was run on.

    Returns:
        The pages by the names of their files.
    """
    pages = {}
    for model in _models(result):
        frames = {
            name: result.frame(f"page_{name}").filter(model=model).drop("model")
            for name in ("features", "activations", "positions", "words")
        }
        first = frames["features"].row(0, named=True)
        shown = set(frames["activations"]["utterance"].to_list())
        folder = str(result.settings["data"])
        clips = {
            path.stem: (read_audio(path, sample_rate_hz=_SAMPLE_RATE_HZ), _SAMPLE_RATE_HZ)
            for path, _ in clips_of(folder)
            if path.stem in shown
        }
        title = f"Features of {model} at layer {first['layer']}"
        pages[f"features-{_slug(model)}"] = feature_page(
            FeatureDashboard(**frames), clips, title=title
        )
    return pages


def _models(result: StudyResult) -> list[str]:
    return result.frame("layers")["model"].unique(maintain_order=True).to_list()


def _slug(model: str) -> str:
    """A model's name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", model).strip("-.") or "model"


def _chart(result: StudyResult, model: str) -> Chart:
    tags = result.frame("tags").filter(model=model)
    variance = result.frame("variance").filter(model=model)
    words = result.frame("words").filter(model=model)
    n_layers = int(cast(int, tags["layer"].max()))
    panels = [
        part(frame, layer_axis(n_layers))
        for part, frame in ((_tags, tags), (_variance, variance), (_words, words))
    ]
    if "doses" in result.tables:
        doses = result.frame("doses").filter(model=model)
        panels += [_doses(doses)] if len(doses) else []
    row = (*panels, *[None] * (4 - len(panels)))
    return Chart(
        rows=(row[:2], row[2:]),
        title=f"Features of {model}",
        description=f"Sparse dictionaries of {model}: share of features that are speech, text or "
        "mixed by layer; explained variance by modality; share of words with a feature of their "
        "own; and the effect of adding a feature's direction on its word. Thin lines are controls; "
        "bands are 95 % intervals. An explained variance below 0 is drawn at 0.",
        width_inches=PAGE_INCHES,
        height_inches=5.6,
        keys=(
            Key(_TAGS, n_columns=3),
            Key(
                {
                    "trained model": Ink("grey"),
                    **{name: Ink("grey", dash, weight="thin") for name, dash in _CONTROLS.items()},
                    "shuffled": Ink("grey", "dash-dot", weight="thin"),
                },
                "below",
            ),
        ),
    )


def _tags(tags: pl.DataFrame, x: Axis) -> Panel:
    own = tags.filter(dictionary="batch_topk")
    lines = [curve(own.filter(tag=tag), tag, ink, y="share") for tag, ink in _TAGS.items()]
    mixed = tags.filter(tag="mixed")
    lines += [
        curve(mixed.filter(dictionary=name), f"mixed, {name}", Ink("black", dash, weight="thin"),
              y="share", interval=None, entry=name)
        for name, dash in _CONTROLS.items()
    ]  # fmt: skip
    ink = Ink("black", "dash-dot", weight="thin")
    lines.append(curve(own.filter(tag="mixed"), "mixed, shuffled labels", ink, y="shuffled",
                       interval=None, entry="shuffled"))  # fmt: skip
    share = Axis("share of features", low=-0.02, high=1.05)
    return Panel(x, share, "what features are", lines=tuple(lines))


def _variance(variance: pl.DataFrame, x: Axis) -> Panel:
    lines = []
    for place in ("speech", "text"):
        of = variance.filter(positions=place)
        lines.append(curve(of.filter(dictionary="batch_topk"), place, _TAGS[place], y="explained"))
        of = of.with_columns(pl.col("explained").clip(lower_bound=0.0))
        lines += [
            curve(of.filter(dictionary=name), f"{place}, {name}",
                  Ink(_TAGS[place].colour, dash, weight="thin"), y="explained", interval=None,
                  entry=name)
            for name, dash in _CONTROLS.items()
        ]  # fmt: skip
    share = Axis("explained variance", low=-0.02, high=1.05)
    return Panel(x, share, "what they explain", lines=tuple(lines))


def _words(words: pl.DataFrame, x: Axis) -> Panel:
    lines: list[Line] = []
    for (modality, role), ink in _WORDS.items():
        of = words.filter(modality=modality, role=role)
        name = "one feature for both" if modality == "both" else f"{modality}, {role}"
        own = of.filter(dictionary="batch_topk")
        lines.append(curve(own, name, ink, y="share"))
        thin = Ink(ink.colour, "dash-dot", weight="thin")
        lines.append(curve(own, f"{name}, chance", thin, y="chance", interval=None,
                           entry="shuffled"))  # fmt: skip
    both = words.filter(modality="both", dictionary="random weights")
    lines.append(curve(both, "one feature for both, random weights",
                       Ink("black", "dashed", weight="thin"), y="share", interval=None,
                       entry="random weights"))  # fmt: skip
    key = {
        "current word": Ink("grey", "solid"),
        "next word": Ink("grey", "dashed"),
        "one feature for both": _WORDS["both", "current"],
    }
    share = Axis("share of words", low=-0.02, high=1.05)
    return Panel(x, share, "words with a feature", lines=tuple(lines), key=key)


def _doses(doses: pl.DataFrame) -> Panel:
    lines = []
    for reading, (name, ink) in _READINGS.items():
        of = doses.filter(reading=reading)
        lines.append(curve(of, name, ink, x="strength", y="effect"))
        thin = Ink(ink.colour, "dashed", weight="thin")
        lines.append(curve(of, f"{name}, other features", thin, x="strength", y="control",
                           interval=("control_low", "control_high"), band=0.08))  # fmt: skip
    key = {name: ink for name, ink in _READINGS.values()}
    key["other features"] = Ink("grey", "dashed", weight="thin")
    ticks = tuple(sorted(set(doses["strength"].to_list()) | {0.0}))
    layer = doses["layer"][0]
    return Panel(
        Axis("dose, usual activations", ticks=ticks),
        Axis("change of log-probability", "nats"),
        f"steering at layer {layer}",
        lines=tuple(lines),
        rules=(Rule(0.0, "y", Ink("grey", weight="thin")),),
        key=key,
    )
