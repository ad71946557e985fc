"""Tiny models that every room shares. `slm_lens` is imported inside them, after the shape hook."""

from collections.abc import Callable
from typing import Any

import pytest
from slamkit_folders import SlamkitFolder, write_slamkit_folder


@pytest.fixture(scope="session")
def slamkit_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SlamkitFolder]:
    """Writes a folder in the published slamkit layout; options as `write_slamkit_folder`."""

    def write(**options: Any) -> SlamkitFolder:
        return write_slamkit_folder(tmp_path_factory.mktemp("slamkit"), **options)

    return write


@pytest.fixture(scope="session")
def tiny_folder(slamkit_folder: Callable[..., SlamkitFolder]) -> SlamkitFolder:
    """Two layers, Qwen2 class, tied, grouped queries, 20 units, word-and-letter tokens."""
    return slamkit_folder()


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: SlamkitFolder):
    """The model of `tiny_folder`. Shared: leave no hooks and do not change it."""
    import slm_lens

    return slm_lens.load(tiny_folder.path)


@pytest.fixture
def own_model(tiny_folder: SlamkitFolder):
    """A fresh copy of `tiny_model` that a test may change."""
    import slm_lens

    return slm_lens.load(tiny_folder.path)
