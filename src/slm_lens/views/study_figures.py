"""The figures of each study, from its tables."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from slm_lens.studies.study_result import StudyResult
from slm_lens.views.chart import Chart
from slm_lens.views.studies.features import features_figures
from slm_lens.views.studies.geometry import geometry_figures
from slm_lens.views.studies.grid import grid_figures
from slm_lens.views.studies.knowledge import knowledge_figures
from slm_lens.views.studies.phases import phases_figures
from slm_lens.views.studies.streams import streams_figures
from slm_lens.views.studies.units import units_figures

_FIGURES: Mapping[str, Callable[[StudyResult], Mapping[str, Chart]]] = MappingProxyType(
    {
        "phases": phases_figures,
        "grid": grid_figures,
        "knowledge": knowledge_figures,
        "geometry": geometry_figures,
        "units": units_figures,
        "features": features_figures,
        "streams": streams_figures,
    }
)
"""By name of the study: charts by the name of their files, the main one first."""


def study_figures(result: StudyResult) -> Mapping[str, Chart]:
    """The charts of a study.

    Args:
        result: from `slm_lens.run_study` or `slm_lens.read_study`.

    Returns:
        Charts by the name of their files; the main one first.

    Raises:
        LookupError: nothing draws this study.
    """
    if result.study not in _FIGURES:
        raise LookupError(
            f"study_figures: got a result of study {result.study!r}, expected one of "
            f"{sorted(_FIGURES)}."
        )
    return _FIGURES[result.study](result)
