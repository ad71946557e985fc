"""What a result is shown as: in notebooks by itself, elsewhere by `chart_of`.

A new kind of result derives from `slm_lens._pictured.Pictured` and gets a line in `_FIGURES`, or in
`_PAGES` if it is more than a chart.
"""

from collections.abc import Callable
from typing import Any

import polars as pl

from slm_lens.interventions.ablation.word_ablation import WordAblation
from slm_lens.interventions.attribution.direct_result import DirectAttribution
from slm_lens.interventions.attribution.edge_result import EdgeAttribution
from slm_lens.interventions.attribution.node_result import NodeAttribution
from slm_lens.interventions.heads.head_roles import HeadRoles
from slm_lens.interventions.patching.patching_result import Patching
from slm_lens.interventions.steering.dose_response import DoseResponse
from slm_lens.interventions.tracing.tracing_result import Tracing
from slm_lens.lens.grid_result import LensGrid
from slm_lens.lens.word_lens import WordLens
from slm_lens.phases.result import Phases
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.exploration import Exploration
from slm_lens.studies.phase_study import PhaseStudy
from slm_lens.studies.study_result import StudyResult
from slm_lens.views.attribution_figure import edges_figure, nodes_figure
from slm_lens.views.chart import Chart
from slm_lens.views.direct_figure import direct_figure
from slm_lens.views.dose_figure import dose_figure
from slm_lens.views.effects_figure import word_ablation_figure
from slm_lens.views.exploration import exploration_page
from slm_lens.views.head_roles_figure import head_roles_figure
from slm_lens.views.lens_grid import lens_grid_view
from slm_lens.views.lens_grid_figure import lens_grid_figure
from slm_lens.views.page import Page, View
from slm_lens.views.phases_figure import phases_figure
from slm_lens.views.ranks_figure import word_ranks_figure
from slm_lens.views.speech_tokens import speech_tokens
from slm_lens.views.study_figures import study_figures
from slm_lens.views.sweeps_figure import patching_figure, tracing_figure
from slm_lens.views.table import table_view

_FIGURES: dict[type, Callable[[Any], Chart]] = {
    DirectAttribution: direct_figure,
    DoseResponse: dose_figure,
    EdgeAttribution: edges_figure,
    HeadRoles: head_roles_figure,
    LensGrid: lens_grid_figure,
    NodeAttribution: nodes_figure,
    Patching: patching_figure,
    PhaseStudy: lambda study: phases_figure(study.phases),
    Phases: phases_figure,
    StudyResult: lambda result: next(iter(study_figures(result).values())),
    Tracing: tracing_figure,
    WordAblation: word_ablation_figure,
    WordLens: word_ranks_figure,
}


_PAGES: dict[type, Callable[[Any], View | Page]] = {
    Exploration: exploration_page,
    LensGrid: lens_grid_view,
    SpeechTextSequence: speech_tokens,
    Utterance: lambda one: speech_tokens(one.sequence, title=one.name),
}


def shown_as(result: Any) -> Chart | View | Page:
    """What a notebook shows of a result.

    Args:
        result: of an experiment, or of `slm_lens.explore`.

    Returns:
        A page, a view, the chart of `chart_of`, or where there is none its table.
    """
    page = next((f for kind, f in _PAGES.items() if isinstance(result, kind)), None)
    if page is not None:
        return page(result)
    if isinstance(result, tuple(_FIGURES)):
        return chart_of(result)
    name = type(result).__name__
    return table_view(
        _without_lists(result.to_frame()),
        title=name,
        description=f"All rows of a {name}.",
        file_name=f"{name}.csv",
    )


def _without_lists(table: pl.DataFrame) -> pl.DataFrame:
    """Lists written out, with spaces between."""
    lists = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]
    return table.with_columns(
        pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists
    )


def chart_of(result: Any) -> Chart:
    """A result as a chart: what a notebook shows of it, or for print what is more than a chart.

    Args:
        result: of an experiment, such as `Phases` or `Patching`.

    Returns:
        The chart, with the defaults of its function: of several metrics the first, of several
        utterances the first.

    Raises:
        TypeError: nothing draws results of this type.
    """
    figure = next((f for kind, f in _FIGURES.items() if isinstance(result, kind)), None)
    if figure is None:
        raise TypeError(
            f"chart_of: got a {type(result).__name__}, expected one of "
            f"{[kind.__name__ for kind in _FIGURES]}."
        )
    return figure(result)
