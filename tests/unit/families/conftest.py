"""One tiny checkpoint for each published layout, written once."""

import shutil
from collections.abc import Callable
from pathlib import Path

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


@pytest.fixture
def own_copy(published: Callable[[str], Published], tmp_path: Path) -> Callable[[str], Path]:
    """Copies the folder of a layout, so that a test may change it."""

    def get(layout: str) -> Path:
        return Path(shutil.copytree(published(layout).path, tmp_path / "copy"))

    return get


@pytest.fixture
def load_copy(published, tmp_path):
    """Loads what `own_copy` gave, with the options that its layout needs."""
    import slm_lens

    def get(layout: str, **options):
        return slm_lens.load(tmp_path / "copy", **(dict(published(layout).load) | options))

    return get
