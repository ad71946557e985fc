"""Fixtures made from `tiny_speech`."""

import pytest
from hypothesis import settings
from tiny_speech import FUNCTION, make_hf_model, make_utterances, make_vocab, wrap

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def vocab():
    return make_vocab()


@pytest.fixture(scope="session")
def model(vocab):
    return wrap(make_hf_model(), vocab)


@pytest.fixture(scope="session")
def utterances():
    return make_utterances(12, seed=3)


@pytest.fixture(scope="session")
def lens_of_words(model, utterances):
    from slm_lens.lens.word_lens import word_lens

    return word_lens(
        model, utterances, function_words=FUNCTION, policy="whole_word", n_draws=4, seed=5
    )
