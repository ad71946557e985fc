"""Fixtures made from `tiny_speech`."""

import pytest
from tiny_speech import make_hf_model, make_utterances, make_vocab, wrap


@pytest.fixture(scope="session")
def vocab():
    return make_vocab()


@pytest.fixture(scope="session")
def model(vocab):
    """Three layers, grouped queries. Shared: leave no hooks and do not change it."""
    return wrap(make_hf_model(), vocab)


@pytest.fixture(scope="session")
def hf_model():
    """The same weights without a bridge: the oracle of every change."""
    return make_hf_model()


@pytest.fixture(scope="session")
def utterances():
    return make_utterances(12, seed=3)
