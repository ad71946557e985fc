"""The figures in the documentation are those of the shipped models."""

import re
from pathlib import Path

import pytest

from slm_lens.model.source import ORGANISMS, embedded_folder
from slm_lens.organism.card import card_table

ROOT = Path(__file__).resolve().parents[2]


def test_the_documented_card_is_that_of_the_shipped_models():
    documented = re.search(
        r"<!-- card -->\n(.*)<!-- /card -->", (ROOT / "docs/organism.md").read_text(), re.DOTALL
    )
    assert documented is not None
    assert documented[1] == card_table(tuple(map(embedded_folder, ORGANISMS)))


def test_an_unknown_embedded_model_is_refused():
    with pytest.raises(LookupError, match=r"'organsim' is not in this installation.*Reinstall"):
        embedded_folder("organsim")
