"""What `slm_lens` offers, and that offering it costs nothing."""

import subprocess
import sys

import pytest

import slm_lens


def test_all_is_sorted_and_complete():
    in_order = sorted(slm_lens.__all__, key=lambda name: (not name.isupper(), name))
    assert slm_lens.__all__ == in_order  # constants, classes, functions
    assert set(slm_lens.__all__) == set(slm_lens._MODULE_OF)
    assert dir(slm_lens) == sorted(slm_lens.__all__)


@pytest.mark.parametrize("name", slm_lens.__all__)
def test_every_public_name_is_there_with_a_docstring(name):
    thing = getattr(slm_lens, name)
    assert thing.__doc__
    assert name.isupper() or thing.__name__ == name  # a constant has no name of its own


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'lode'; it has .*'load'"):
        _ = slm_lens.lode  # pyright: ignore[reportAttributeAccessIssue]


def test_importing_it_imports_nothing_heavy():
    heavy = ["torch", "transformers", "transformer_lens", "numpy", "polars"]
    code = f"import sys, slm_lens; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
