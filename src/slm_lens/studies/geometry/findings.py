"""What the tables say, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from slm_lens.studies.geometry.aligned import STRAIGHT
from slm_lens.studies.geometry.decisions import HEADS
from slm_lens.studies.geometry.layers import MATCHED, MISMATCHED
from slm_lens.studies.geometry.options import GeometryOptions

Tables = Mapping[str, pl.DataFrame]


def findings(tables: Tables, options: GeometryOptions) -> tuple[str, ...]:
    """Sentences with estimate, interval, control and n.

    Args:
        tables: of the study, by name.
        options: of the study.

    Returns:
        Several for each model.
    """
    models = tables["layers"]["model"].unique(maintain_order=True)
    return tuple(sentence for model in models for sentence in _of_model(model, tables, options))


def _of_model(model: str, tables: Tables, options: GeometryOptions) -> Iterator[str]:
    of = {n: t.filter(model=model) for n, t in tables.items()}
    yield f"{model}: {_words(of['excess'], of['layers'])}"
    yield f"{model}: {_means(of)}"
    yield f"{model}: {_paths(of)}"
    yield f"{model}: {_cka(of['cka_rows'], options)}"
    if len(of["attention"]):
        yield f"{model}: {_attention(of['attention'])}"
    if len(of["gap"]):
        yield f"{model}: {_gap(of['gap'].row(0, named=True))}"


def _words(excess: pl.DataFrame, layers: pl.DataFrame) -> str:
    name = "word_cosine_centred"
    rows = excess.filter(measure=name)
    best = rows.sort("estimate", descending=True).row(0, named=True)
    at = {
        c: layers.filter(measure=name, control=c, layer=best["layer"])["estimate"][0]
        for c in (MATCHED, MISMATCHED)
    }
    n = f"n = {best['n_items']} words of {best['n_utterances']} utterances"
    return (
        "a spoken and the written word are "
        f"{_where_closer(rows, 'the words of other clips')}; centred cosine most above the "
        f"control at layer {best['layer']}: {at[MATCHED]:.2f} against {at[MISMATCHED]:.2f} with "
        f"other words of the same number, difference {_interval(best)}, with random weights "
        f"{_random(best)}; {n}."
    )


def _means(of: Tables) -> str:
    parts = []
    for name, label in (("cosine", "cosine"), ("l2", "Euclidean distance")):
        rows = of["layers"].filter(measure=name, control=MATCHED).sort("layer")["estimate"]
        wrong = of["layers"].filter(measure=name, control=MISMATCHED).sort("layer")["estimate"]
        last = len(rows) - 1
        top = int(rows.arg_max() or 0)
        parts.append(
            f"{label} {rows[0]:.2f} at layer 0, at its largest {rows[top]:.2f} at layer {top} "
            f"(shuffled {wrong[top]:.2f}), {rows[last]:.2f} at layer {last} "
            f"(shuffled {wrong[last]:.2f})"
        )
    rows = of["excess"].filter(measure="cosine_centred")
    n = rows["n_utterances"][0]
    where = _where_closer(rows, "the texts of other clips")
    return (
        f"time means of a clip and its text: {'; '.join(parts)}. Centred, they are {where}; "
        f"n = {n} utterances."
    )


def _paths(of: Tables) -> str:
    rows = of["excess"].filter(measure="aps_centred")
    best = rows.sort("estimate", descending=True).row(0, named=True)
    straight = of["agreement"].filter(method=STRAIGHT).row(0, named=True)
    dtw = of["agreement"].filter(method="dtw").sort("agreement", descending=True)
    warped = dtw.row(0, named=True)
    is_above = warped["low"] is not None and warped["low"] > straight["agreement"]
    return (
        f"alignment path score (centred) most above shuffled sentences at layer {best['layer']}, "
        f"by {_interval(best)} (random weights {_random(best)}); time warping of raw cosines puts "
        f"speech beside its own word at best in {_interval(warped, 'agreement')} of steps (layer "
        f"{warped['layer']}), {'' if is_above else 'not '}above a straight line without a model, "
        f"{straight['agreement']:.2f}; n = {best['n_utterances']} utterances, "
        f"{straight['n_positions']} positions."
    )


def _cka(rows: pl.DataFrame, options: GeometryOptions) -> str:
    last = rows.sort("speech_layer").row(-1, named=True)
    widths, wild = rows["band_width"], rows["random_band_width"]
    top = rows.sort("cka", descending=True).row(0, named=True)
    ends = "" if last["lowest"] is None else f" ({last['lowest']} to {last['highest']})"
    near = rows.sort("cosine", descending=True).row(0, named=True)
    by_chance = "" if wild[0] is None else f", {wild.mean():.1f} with random weights"
    return (
        f"CKA ({options.estimator}, aligned by {options.align}) is highest at speech layer "
        f"{top['speech_layer']} and text layer {top['best_text_layer']}: {top['cka']:.2f}, "
        f"shuffled {_two(top['shuffled'])}, random weights {_two(top['random'])}; the last speech "
        f"layer, {last['speech_layer']}, matches text layer {last['best_text_layer']}{ends} best; "
        f"band (at least {options.band_share:g} of the highest) {widths.mean():.1f} text layers "
        f"wide in the mean{by_chance}. Where states lie: centred cosine is highest at speech layer "
        f"{near['speech_layer']} and text layer {near['best_by_cosine']}, {near['cosine']:.2f}, "
        f"shuffled {_two(near['cosine_shuffled'])}, random weights {_two(near['cosine_random'])}; "
        f"n = {last['n_states']} states of {last['n_utterances']} "
        "utterances."
    )


def _attention(attention: pl.DataFrame) -> str:
    of = attention.filter(heads=HEADS[0])
    parts = []
    for modality in ("text", "speech"):
        rows = of.filter(modality=modality)
        parts.append(
            f"after {modality} {rows['coverage'].mean():.1f} of {rows['n_positions'][0]:.1f} "
            f"(uniform {rows['uniform'][0]:.1f}; largest weight {rows['largest'].mean():.2f}, "
            f"normalised entropy {rows['entropy'].mean():.2f})"
        )
    n = of["n_prompts"][0]
    return (
        f"positions that hold 90 % of the deciding position's attention, mean of the heads' "
        f"patterns, averaged over layers: {', '.join(parts)}; n = {n} prompts of "
        f"{of['n_utterances'][0]} utterances each."
    )


def _gap(row: dict[str, Any]) -> str:
    is_gap = row["low"] is not None and (row["low"] > 0 or row["high"] < 0)
    verdict = "" if is_gap else "no difference shown: "
    return (
        f"{verdict}the next word is right in text after {row['after_text']:.2f} of written and "
        f"{row['after_speech']:.2f} of spoken prompts, gap {_interval(row, 'gap')}, another clip's "
        f"word {_two(row['control_text'])} and {_two(row['control_speech'])}; n = "
        f"{row['n_prompts']} prompts of {row['n_utterances']} utterances."
    )


def _where_closer(rows: pl.DataFrame, what: str) -> str:
    """Where matched pairs are closer than `what`."""
    closer = rows.sort("layer")["closer"]
    if closer.null_count():
        return f"compared with {what}, without a verdict (that needs intervals and random weights)"
    found = [i for i, is_closer in enumerate(closer) if is_closer]
    if not found:
        return f"not shown to be closer than {what} at any of {len(closer)} layers"
    layers = f"layer{'s' * (len(found) > 1)} {_ranges(found)} of 0-{len(closer) - 1}"
    return f"closer than {what} at {layers}"


def _ranges(layers: list[int]) -> str:
    """Layers as in 2-5, 7."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)


def _interval(row: dict[str, Any], value: str = "estimate") -> str:
    if row["low"] is None:
        return f"{row[value]:.2f}"
    return f"{row[value]:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _random(row: dict[str, Any]) -> str:
    if row["random_low"] is None:
        return _two(row["random"])
    return f"{row['random']:.2f} [{row['random_low']:.2f}, {row['random_high']:.2f}]"


def _two(x: float | None) -> str:
    return "not measured" if x is None else f"{x:.2f}"
