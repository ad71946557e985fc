"""Which heads look where: one map of layers and heads for each role."""

from slm_lens.interventions.heads.head_roles import HeadRoles
from slm_lens.views._table import cell_grid, in_cells, largest, named_axis
from slm_lens.views.chart import PAGE_INCHES, Chart, Scale
from slm_lens.views.effects_figure import in_rows
from slm_lens.views.panel import HeatMap, Panel

_MOST_NUMBERS = 8  # heads, beyond which numbers do not fit into cells


def head_roles_figure(roles: HeadRoles) -> Chart:
    """Attention beyond uniform attention, by role, layer and head.

    Args:
        roles: what `slm_lens.head_roles` gave.

    Returns:
        A chart; show it in a notebook by naming it, or save it with `slm_lens.save_figure`. A role
        that never occurs has no panel.
    """
    scores = roles.scores()
    n_heads = roles.mass.shape[-1]
    keys = ("layer", roles.layers), ("head", range(n_heads))
    x, y = named_axis("head", range(n_heads)), named_axis("layer", roles.layers)
    panels = []
    for role in (r for r in roles.roles if r in set(scores["role"])):
        rows = scores.filter(role=role)
        cells = cell_grid(rows, "excess", *keys)
        text = in_cells(cells) if n_heads <= _MOST_NUMBERS else None
        of_cell = {(r["layer"], r["head"]): r for r in rows.iter_rows(named=True)}
        under = tuple(tuple(_words(of_cell[a, b]) for b in range(n_heads)) for a in roles.layers)
        panels.append(Panel(x, y, role.replace("_", " "), heat=HeatMap(cells, text, under)))
    n_columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
    most = largest(panel.heat.cells for panel in panels if panel.heat is not None)
    rows = in_rows(panels, n_columns)
    width = 1.0 + n_columns * max(1.2, 0.3 * min(n_heads, _MOST_NUMBERS))
    return Chart(
        rows=rows,
        title="Roles of heads",
        description="Attention that heads pay beyond uniform attention, from the last position of "
        "a word to where each role looks, by layer and head.",
        width_inches=min(PAGE_INCHES, width),
        height_inches=0.5 + (0.35 + 0.2 * len(roles.layers)) * len(rows),
        scale=Scale("attention beyond uniform", -most, most),
    )


def _words(row: dict) -> str:
    return (
        f"beyond uniform: {row['excess']:.4g}\n"
        f"95 % interval: [{row['low']:.4g}, {row['high']:.4g}]\n"
        f"attention: {row['mass']:.4g}, uniform: {row['uniform']:.4g}\nwords: {row['n_words']}"
    )
