"""The figures of each study, from its tables."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from slm_lens.studies.study_result import StudyResult
from slm_lens.views.chart import Chart
from slm_lens.views.studies.streams import streams_figures

_FIGURES: Mapping[str, Callable[[StudyResult], Mapping[str, Chart]]] = MappingProxyType(
    {"streams": streams_figures}
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
