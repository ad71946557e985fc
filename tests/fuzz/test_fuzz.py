"""Hostile input: whatever the bytes, a reader takes them or says in our words why not."""

from random import Random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from mutations import mutated
from targets import TARGETS, attempt


@pytest.mark.parametrize("name", TARGETS)
def test_valid_documents_are_taken(name):
    target = TARGETS[name]
    assert [attempt(target, seed) for seed in target.seeds] == [True] * len(target.seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nearly_valid_documents(name):
    target, taken = TARGETS[name], []

    @settings(max_examples=300)
    @given(st.integers(0, 2**32 - 1))
    def of_a_seed(seed):
        random = Random(seed)
        content = mutated(random.choice(target.seeds), random, target.seeds)
        note(f"{name}: {content!r}")
        taken.append(attempt(target, content))

    of_a_seed()
    # Damage that is always seen, or never, would test nothing.
    assert 0 < sum(taken) < len(taken)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name):
    @settings(max_examples=50)
    @given(st.binary(max_size=200))
    def of_bytes(content):
        attempt(TARGETS[name], content)

    of_bytes()
