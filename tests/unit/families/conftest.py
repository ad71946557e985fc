"""One tiny checkpoint for each published layout, written once."""

import pytest
from folders import WRITERS, Published

IDS = list(WRITERS)


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Writes a published layout by its name in `WRITERS`, once."""
    made: dict[str, Published] = {}

    def get(layout: str) -> Published:
        if layout not in made:
            made[layout] = WRITERS[layout][1](tmp_path_factory.mktemp("published"))
        return made[layout]

    return get


@pytest.fixture(scope="session")
def loaded(published):
    """The hooked model of a published layout, loaded once; leave it as it is."""
    import slm_lens

    made = {}

    def get(layout: str):
        if layout not in made:
            folder = published(layout)
            made[layout] = slm_lens.load(folder.path, **folder.load)
        return made[layout]

    return get
