"""Which modality every layer speaks, by three measures: mass, top token, top ten."""

from collections.abc import Sequence

from slm_lens.phases.result import Phases
from slm_lens.views._table import curve
from slm_lens.views.chart import COLUMN_INCHES, Chart, Key, one_row
from slm_lens.views.panel import Axis, Panel, Rule, layer_axis
from slm_lens.views.style import Dash, Ink

_MEASURES: dict[str, tuple[str, Dash]] = {
    "mass": ("softmax mass", "solid"),
    "argmax": ("top token", "dashed"),
    "top10": ("top ten tokens", "dotted"),
}


def modality_figure(phases: Phases | Sequence[Phases]) -> Chart:
    """Text and speech over layers by all three measures, one panel for each model.

    Args:
        phases: one result, or one for each panel.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`.

    Raises:
        ValueError: there is nothing to draw.
    """
    columns = [phases] if isinstance(phases, Phases) else list(phases)
    if not columns:
        raise ValueError("modality_figure: got no results, expected at least one `Phases`.")
    share = Axis("share", low=-0.02, high=1.02)
    key = {modality: Ink(modality) for modality in ("text", "speech")}
    key |= {name: Ink("grey", dash) for name, dash in _MEASURES.values()}
    is_one = len(columns) == 1
    return Chart(
        rows=one_row([_panel(one, share) for one in columns]),
        title="Modality by layer",
        description="The share of text and speech by layer, as softmax mass, among top tokens and "
        f"among the top ten. Models: {', '.join(one.model for one in columns)}.",
        width_inches=COLUMN_INCHES if is_one else 1.0 + 2.35 * len(columns),
        height_inches=2.4,
        keys=(Key(key, n_columns=3 if is_one else 5),),
    )


def _panel(phases: Phases, share: Axis) -> Panel:
    lines, rules = [], []
    for modality in ("text", "speech"):
        for measure, (name, dash) in _MEASURES.items():
            ink = Ink(modality, dash, weight="strong" if measure == "mass" else "thin")
            rows = phases.curve(f"{modality}_{measure}")
            is_mass = measure == "mass"
            lines.append(
                curve(
                    rows,
                    f"{modality}, {name}",
                    ink,
                    interval=("low", "high") if is_mass else None,
                    entry=modality,
                )
            )
    back = phases.return_to_speech.layer
    if back is not None:
        rules.append(Rule(float(back), "x", Ink("grey", weight="thin"), "return to speech"))
    return Panel(
        layer_axis(phases.n_layers),
        share,
        phases.model,
        " " if rules else "",
        tuple(lines),
        rules=tuple(rules),
    )
