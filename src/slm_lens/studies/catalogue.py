"""The studies that ``slm-lens study`` knows. Their descriptions import nothing heavy."""

import difflib

from slm_lens.studies.features.about import STUDY as FEATURES
from slm_lens.studies.geometry.about import STUDY as GEOMETRY
from slm_lens.studies.grid.about import STUDY as GRID
from slm_lens.studies.knowledge.about import STUDY as KNOWLEDGE
from slm_lens.studies.phases.about import STUDY as PHASES
from slm_lens.studies.streams.about import STUDY as STREAMS
from slm_lens.studies.study import Study
from slm_lens.studies.units.about import STUDY as UNITS

STUDIES: tuple[Study, ...] = (
    PHASES,
    GRID,
    KNOWLEDGE,
    GEOMETRY,
    UNITS,
    FEATURES,
    STREAMS,
)
"""All studies, in the order of the list."""


def find_study(name: str) -> Study:
    """A study by its name.

    Args:
        name: one of `STUDIES`.

    Returns:
        The study.

    Raises:
        LookupError: there is none of that name.
    """
    by_name = {s.name: s for s in STUDIES}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, 1)
        raise LookupError(
            f"study: got {name!r}, expected one of {list(by_name)}."
            + (f" Is {near[0]!r} meant?" if near else "")
        )
    return by_name[name]
