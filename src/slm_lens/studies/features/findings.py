"""What the tables of the study say, in sentences."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from slm_lens.studies.features.options import FeaturesOptions

_READ = {
    "written": "log-probability of the word after a written prompt",
    "heard": "log-probability of the word among all text after a spoken prompt",
    "spoken": "log-probability of the word's most frequent first unit after a spoken prompt",
}


def findings_of(frames: Mapping[str, pl.DataFrame], options: FeaturesOptions) -> tuple[str, ...]:
    """Sentences with estimate, interval, control and n.

    Args:
        frames: tables of the study.
        options: of the study.

    Returns:
        The sentences, model by model.
    """
    found: list[str] = []
    for (model,), _ in frames["layers"].group_by("model", maintain_order=True):
        of = {name: frame.filter(model=model) for name, frame in frames.items()}
        found += [*_tags(str(model), of), _mixed(str(model), of), _variance(str(model), of)]
        found += [_words(str(model), of, options), _both(str(model), of, options)]
        if "jumprelu" in of["layers"]["dictionary"]:
            found.append(_jump(str(model), of))
        if "doses" in of and len(of["doses"]):
            found += _steering(str(model), of)
        else:
            found.append(f"{model}: no feature stands for a next written word; none was steered.")
    return tuple(found)


def _tags(model: str, of: Mapping[str, pl.DataFrame]) -> list[str]:
    rows = of["layers"].filter(dictionary="batch_topk").sort("layer")
    parts = [f"{r['speech']:.0%} / {r['text']:.0%} / {r['mixed']:.0%} at layer {r['layer']}"
             for r in rows.iter_rows(named=True)]  # fmt: skip
    tagged = of["tags"].filter(dictionary="batch_topk", tag="mixed")
    chance = tagged.select(1 - pl.col("shuffled").mean()).item()
    return [
        f"{model}: features speech / text / mixed: {', '.join(parts)} (n = "
        f"{rows['n_tagged'].min()} to {rows['n_tagged'].max()} tagged features of a layer; under "
        f"shuffled labels {chance:.1%} are tagged speech or text)."
    ]


def _mixed(model: str, of: Mapping[str, pl.DataFrame]) -> str:
    """Where most features are mixed, and what the controls have there."""
    rows = of["layers"]
    top = rows.filter(dictionary="batch_topk").sort(
        ["mixed", "layer"], descending=[True, False], nulls_last=True
    ).row(0, named=True)  # fmt: skip
    others = {
        name: rows.filter(dictionary=name, layer=top["layer"])["mixed"][0]
        for name in ("random directions", "random weights")
    }
    told = ", ".join(f"{name} {_percent(x)}" for name, x in others.items())
    return (
        f"{model}: most mixed features at layer {top['layer']}, "
        f"{_with(top, 'mixed', ends=('mixed_low', 'mixed_high'))} of {top['n_tagged']} features; "
        f"the same layer with {told}."
    )


def _variance(model: str, of: Mapping[str, pl.DataFrame]) -> str:
    rows = of["variance"].filter(dictionary="batch_topk")
    wide = rows.filter(pl.col("positions").is_in(["speech", "text"])).pivot(
        "positions", index="layer", values="explained"
    )
    gap = wide.with_columns((pl.col("text") - pl.col("speech")).alias("gap"))
    top = gap.sort(pl.col("gap").abs(), descending=True).row(0, named=True)
    at = {r["positions"]: r for r in rows.filter(layer=top["layer"]).iter_rows(named=True)}
    control = of["variance"].filter(
        dictionary="random directions", layer=top["layer"], positions="all"
    )
    n_clips = at["text"]["n_clips"]
    return (
        f"{model}: explained variance differs most at layer {top['layer']}: text "
        f"{_number(at['text'], 'explained')}, speech {_number(at['speech'], 'explained')} (random "
        f"directions, all positions: {control['explained'][0]:.2f}; n = {n_clips} held-out clips)."
    )


def _words(model: str, of: Mapping[str, pl.DataFrame], options: FeaturesOptions) -> str:
    rows = of["words"].filter(dictionary="batch_topk")
    parts = []
    for modality in ("speech", "text"):
        for role in ("current", "next"):
            top = rows.filter(modality=modality, role=role).sort(
                ["share", "layer"], descending=[True, False]
            ).row(0, named=True)  # fmt: skip
            parts.append(
                f"{role} word in {modality} {_with(top, 'share', ends=('low', 'high'))} at layer "
                f"{top['layer']} (shuffled words {top['chance']:.0%}, n = {top['n_words']} words)"
            )
    return (
        f"{model}: words with a feature of their own (F1 of {options.least_f1} or more on other "
        f"utterances), at the best layer: {'; '.join(parts)}."
    )


def _both(model: str, of: Mapping[str, pl.DataFrame], options: FeaturesOptions) -> str:
    rows = of["words"].filter(modality="both")
    top = rows.filter(dictionary="batch_topk").sort(
        ["share", "layer"], descending=[True, False]
    ).row(0, named=True)  # fmt: skip
    at = rows.filter(dictionary="random weights", layer=top["layer"])
    if top["share"] == 0:
        return (
            f"{model}: no feature stands for one word both spoken and written (F1 of "
            f"{options.least_f1} or more in either), at any of {rows['layer'].n_unique()} layers "
            f"(n = {top['n_words']} words)."
        )
    return (
        f"{model}: words for which one feature stands spoken and written: "
        f"{_with(top, 'share', ends=('low', 'high'))} at layer {top['layer']}, the most (random "
        f"weights {_percent(at['share'][0])}, another word written {top['chance']:.1%}, n = "
        f"{top['n_words']} words)."
    )


def _jump(model: str, of: Mapping[str, pl.DataFrame]) -> str:
    jump = of["layers"].filter(dictionary="jumprelu").row(0, named=True)
    top = of["layers"].filter(dictionary="batch_topk", layer=jump["layer"]).row(0, named=True)
    parts = [
        f"{name} {r['explained_speech']:.3f} of speech and {r['explained_text']:.3f} of text with "
        f"{r['l0']:.1f} active features of a position, {r['mixed']:.0%} mixed, {r['n_dead']} dead"
        for name, r in (("BatchTopK", top), ("JumpReLU", jump))
    ]
    return f"{model}: explained variance at layer {jump['layer']}: {'; '.join(parts)}."


def _steering(model: str, of: Mapping[str, pl.DataFrame]) -> list[str]:
    found = []
    for (reading,), rows in of["doses"].group_by("reading", maintain_order=True):
        top = rows.sort("strength", descending=True).row(0, named=True)
        low, high = top["difference_low"], top["difference_high"]
        clear = low is not None and (low > 0 or high < 0)
        verdict = "" if low is None or clear else "no clear difference: "
        found.append(
            f"{model}: {verdict}steering at layer {top['layer']}, dose {top['strength']:g}, "
            f"changes the {_READ[str(reading)]} by {_number(top, 'effect', unit=' nats')}, other "
            f"features of the same length by {top['control']:.2f}; difference "
            f"{top['difference']:.2f}{_interval(low, high)} (n = {top['n_features']} features, "
            f"{top['n_prompts']} prompts)."
        )
    return found


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{x:.0%}"


def _with(row: Mapping[str, Any], name: str, ends: tuple[str, str]) -> str:
    low, high = (row[end] for end in ends)
    told = "" if low is None else f" [{low:.0%}, {high:.0%}]"
    return f"{_percent(row[name])}{told}"


def _number(row: Mapping[str, Any], name: str, unit: str = "") -> str:
    return f"{row[name]:.2f}{unit}{_interval(row['low'], row['high'])}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None else f" [{low:.2f}, {high:.2f}]"
