"""However a config or the settings of a tokenizer are mutilated, the folder loads or is refused.

Loaded means that a forward pass runs and is finite. There is no third way: no traceback of another
library, no warning, no hang, and no memory for sizes that the weights do not have.
"""

import copy
import json
import os
import resource
import signal
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from damage import LARGE, SMALL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import slm_lens

NUMBERS = [-1, 0, 1, 2, 3, 7, 64, 10**6, 2**31, 2**63, 10**12, 10**30, -(10**30)]
FRACTIONS = [0.0, 0.5, -0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")]
WORDS = ["", "x", "1", "default", "llama3", "yarn", "longrope", "gelu", "\u0000", "float16", "<s>"]
SCALARS = st.sampled_from([None, True, False, *NUMBERS, *FRACTIONS, *WORDS])
VALUES = st.recursive(
    SCALARS | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "5", "rope_type", "content", "factor"]), inner)
    ),
    max_leaves=4,
)
KEYS = [
    "rope_theta",
    "partial_rotary_factor",
    "quantization_config",
    "layer_types",
    "sliding_window",
    "use_sliding_window",
    "head_dim",
    "vocab_size",
    "pad_token_id",
    "tie_word_embeddings",
    "num_hidden_layers",
    "hidden_act",
    "attention_bias",
    "auto_map",
    "architectures",
    "model_type",
    "return_dict",
    "output_hidden_states",
    "is_encoder_decoder",
    "num_labels",
    "offset",
    "num_quantizers",
    "base_config",
    "max_position_embeddings",
    "do_layer_norm_before",
    "attention_dropout",
    "dropout",
]
ROTARY = {
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "attention_factor": 1.2,
    "beta_fast": 32,
    "partial_rotary_factor": 0.5,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
}
ROTARY_TYPES = ["default", "linear", "dynamic", "yarn", "llama3", "longrope", "proportional"]
SETTINGS = [
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "cls_token",
    "additional_special_tokens",
    "added_tokens_decoder",
    "model_max_length",
    "padding_side",
    "clean_up_tokenization_spaces",
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "tokenizer_class",
    "chat_template",
    "extra_special_tokens",
    "auto_map",
    "backend",
]
TOKENIZER_FILES = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"]


def objects_in(value):
    """A JSON object and all objects in it."""
    if isinstance(value, dict):
        yield value
        for inner in list(value.values()):
            yield from objects_in(inner)


@st.composite
def rotary_settings(draw):
    """Settings of one kind of rotary positions, one of them mutilated."""
    made = {"rope_type": draw(st.sampled_from(ROTARY_TYPES))}
    made |= {k: v for k, v in ROTARY.items() if draw(st.booleans())}
    if draw(st.booleans()):
        made[draw(st.sampled_from([*ROTARY, "rope_type", "type"]))] = draw(VALUES)
    return made


def mutilate(data, content, keys, *, rotary):
    """Delete, replace or add up to three entries of an object, at any depth."""
    for _ in range(data.draw(st.integers(1, 3), "edits")):
        inside = data.draw(st.sampled_from(list(objects_in(content))))
        edit = data.draw(st.sampled_from(["delete", "replace", "replace", "add", "rotary"]), "edit")
        if edit == "rotary" and rotary:
            key = data.draw(st.sampled_from(["rope_scaling", "rope_parameters"]))
            inside[key] = data.draw(rotary_settings(), key)
        elif edit in ("delete", "replace") and inside:
            key = data.draw(st.sampled_from(sorted(inside)), "key")
            del inside[key]
            if edit == "replace":
                inside[key] = data.draw(VALUES, key)
        else:
            key = data.draw(st.sampled_from(keys), "key")
            inside[key] = data.draw(VALUES, key)


class Hung(BaseException):
    """Raised into whatever runs too long; nothing but this test catches it."""


def ring(*_):
    raise Hung


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """Four gigabytes more than now: what takes more fails, before the machine does."""
    pages = Path("/proc/self/statm")
    if not pages.exists():  # the system does not tell
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(pages.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 4 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def check(published, name, content):
    """Load the folder with one file replaced, and run it."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for path in published.path.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        signal.signal(signal.SIGALRM, ring)
        signal.alarm(30)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                load_and_run(folder, published)
        finally:
            signal.alarm(0)
        assert not [str(w.message) for w in warned]


def load_and_run(folder, published):
    try:
        model = slm_lens.load(folder, **published.load)
    except (ValueError, LookupError, ImportError) as error:
        if not str(error).startswith("load: "):
            raise
        return
    tokens = torch.arange(4)[None] + model.vocab.d_vocab - 4
    with torch.no_grad():
        logits, cache = model.run_with_cache(tokens)
    assert logits.shape == (1, 4, model.vocab.d_vocab)
    assert logits.isfinite().all()
    last = cache[f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"]
    assert (model.unembed(model.ln_final(last)) - logits).abs().max() == 0


def examples(n):
    """How many, for a run of seconds; HYPOTHESIS_TIMES multiplies them for a longer search."""
    times = int(os.environ.get("HYPOTHESIS_TIMES", "1"))
    ignored = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=n * times, suppress_health_check=ignored)


def config_case(data, published, layout):
    content = copy.deepcopy(json.loads((published(layout).path / "config.json").read_text()))
    mutilate(data, content, KEYS, rotary=True)
    check(published(layout), "config.json", content)


def tokenizer_case(data, published, layout):
    name = data.draw(st.sampled_from(TOKENIZER_FILES), "file")
    path = published(layout).path / name
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    mutilate(data, content, SETTINGS, rotary=False)
    check(published(layout), name, content)


@pytest.mark.slow
@pytest.mark.parametrize("layout", SMALL)
class TestSmall:
    @examples(15)
    @given(data=st.data())
    def test_config(self, published, layout, data):
        config_case(data, published, layout)

    @examples(8)
    @given(data=st.data())
    def test_settings_of_the_tokenizer(self, published, layout, data):
        tokenizer_case(data, published, layout)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LARGE)
class TestLarge:
    @examples(2)
    @given(data=st.data())
    def test_config(self, published, layout, data):
        config_case(data, published, layout)

    @examples(2)
    @given(data=st.data())
    def test_settings_of_the_tokenizer(self, published, layout, data):
        tokenizer_case(data, published, layout)
