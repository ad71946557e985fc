"""Pages that a study has beside its figures, from its tables; most studies have none."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from slm_lens.studies.study_result import StudyResult
from slm_lens.views.page import Page
from slm_lens.views.studies.features import features_pages

_PAGES: Mapping[str, Callable[[StudyResult], Mapping[str, Page]]] = MappingProxyType(
    {"features": features_pages}
)
"""By name of the study: pages by the name of their files, without ``.html``."""


def study_pages(result: StudyResult) -> Mapping[str, Page]:
    """The interactive pages of a study.

    Args:
        result: from `slm_lens.run_study` or `slm_lens.read_study`.

    Returns:
        Pages by the name of their files; none for a study that has none.
    """
    pages = _PAGES.get(result.study)
    return {} if pages is None else pages(result)
