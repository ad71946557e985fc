"""Direct logit attribution: what each head and MLP adds to a logit difference."""

import polars as pl

from slm_lens.interventions.attribution.direct_result import DirectAttribution
from slm_lens.views._table import cell_grid, in_cells, largest, named_axis
from slm_lens.views.chart import PAGE_INCHES, Chart, Scale
from slm_lens.views.panel import HeatMap, Panel

_MOST_NUMBERS = 13  # columns, beyond which numbers do not fit into cells
_ATTN_BIAS, _MLP = "bias", "MLP"


def direct_figure(attribution: DirectAttribution) -> Chart:
    """Mean score over utterances, by layer and part.

    Args:
        attribution: what `slm_lens.attribute_directly` gave.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`. What
        belongs to no layer, such as the embeddings, is told in its description.
    """
    column = (
        pl.when(kind="head").then(pl.format("{}", pl.col("head")))
        .when(kind="mlp").then(pl.lit(_MLP))
        .otherwise(pl.lit(_ATTN_BIAS))
    )  # fmt: skip
    table = attribution.to_frame()
    means = table.group_by("kind", "layer", "head", maintain_order=True).agg(pl.mean("score"))
    inside = means.drop_nulls("layer").with_columns(part=column)
    if not (inside.filter(part=_ATTN_BIAS)["score"] != 0).any():  # most models have none
        inside = inside.filter(pl.col("part") != _ATTN_BIAS)
    outside = means.filter(pl.col("layer").is_null())
    heads = [str(h) for h in range(1 + max(p.head or 0 for p in attribution.parts))]
    parts = [p for p in (*heads, _ATTN_BIAS, _MLP) if p in set(inside["part"])]
    layers = sorted(set(inside["layer"]))
    cells = cell_grid(inside, "score", ("layer", layers), ("part", parts))
    text = in_cells(cells) if len(parts) <= _MOST_NUMBERS else None
    most = largest([cells])
    told = ", ".join(f"{k.replace('_', ' ')} {x:.3g}" for k, x in outside["kind", "score"].rows())
    panel = Panel(
        named_axis("head, or MLP", parts), named_axis("layer", layers), heat=HeatMap(cells, text)
    )
    n = len(attribution.utterances)
    return Chart(
        rows=((panel,),),
        title=f"Direct attribution of {', '.join(dict.fromkeys(attribution.directions))}",
        description=f"Mean over {n} utterances of what each head and MLP adds to the logits, by "
        f"layer; besides {told}; {float(attribution.values.mean()):.3g} in all.",
        width_inches=min(PAGE_INCHES, 1.6 + 0.36 * len(parts)),
        height_inches=0.7 + 0.2 * len(layers),
        scale=Scale("direct effect", -most, most, "logits"),
    )
