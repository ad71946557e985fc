"""The configuration of a run: from YAML or from flags, and nothing that it does not know."""

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slm_lens._yaml import OnceLoader
from slm_lens.corpus.run_config import RunConfig, read_run_config, run_config

WHOLE = """
kind: phases
model: {name: organism, dtype: bfloat16}
data: {format: folder, path: held-out}
out: runs/x
phases: {n_draws: 7}
limits: {max_clip_s: 30}
"""


def written(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_a_file_and_flags_that_take_its_place(tmp_path):
    config = read_run_config(written(tmp_path, WHOLE))
    assert (config.kind, config.options.n_draws, config.strict) == ("phases", 7, False)
    assert (config.model.name, config.model.dtype) == ("organism", "bfloat16")
    assert config.limits.max_clip_s == 30.0
    changes = {"model": {"name": "other"}, "phases": {"n_draws": 1}, "limits": {"max_words": 5}}
    changed = read_run_config(tmp_path / "run.yaml", changes)
    assert (changed.model.name, changed.model.dtype, changed.options.n_draws) == (
        "other",
        "bfloat16",
        1,
    )
    assert (changed.limits.max_clip_s, changed.limits.max_words) == (30.0, 5)
    assert {"out", "strict", "n_readers"}.isdisjoint(config.what_rows_depend_on())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WHOLE + "sede: 3", r"unknown entries \['sede'\].*Is \['seed'\] meant"),
        (WHOLE + "kind: phases", r"\['kind'\] stand twice"),
        (WHOLE + "seed: -1", "got seed=-1, expected at least 0"),
        (WHOLE + "items_per_shard: 0", "got items_per_shard=0"),
        (WHOLE + "strict: 1", "strict is int, expected bool"),
        (
            WHOLE.replace("n_draws: 7", "policy: any"),
            r"phases\.policy is 'any', expected one of \('who",
        ),
        (WHOLE.replace("n_draws: 7", "lens: 3"), r"phases\.lens is int, expected str or nothing"),
        (WHOLE.replace("n_draws: 7", "n_draws: -1"), "phases: got n_draws=-1"),
        (WHOLE + "score: {within: text}", r"got options of \['score'\] for a run of the kind"),
        (WHOLE + "engine: {n_workers: 2}", "got options of 'ray' for the engine 'local'"),
        (WHOLE + "engine: {name: ray, n_workers: 0}", "engine: got n_workers=0, expected at least"),
        (WHOLE + "cache: {hooks: blocks}", "hooks is 'blocks', expected a list, each str"),
        (WHOLE + "cache: {hooks: [1]}", r"hooks\[0\] is int, expected str"),
        (WHOLE + "trace: {sigma: {sound: 1}}", r"trace\.sigma is 'sound', expected one of"),
        (
            WHOLE.replace("phases", "patch", 1).replace(
                "phases: {n_draws: 7}", "autocast: float16"
            ),
            "got autocast='float16' for the kind 'patch'",
        ),
        (WHOLE.replace("30", "-3"), "max_clip_s=-3"),
        (WHOLE.replace("bfloat16", "float8"), r"model\.dtype is 'float8'"),
        (WHOLE.replace("phases", "patching", 1), "kind is 'patching'"),
        ("model: 3\ndata: 4\nout: x", "model holds int, expected entries"),
        ("out: x", r"lacks \['model', 'data'\]"),
        ("[1, 2]", "got a list, expected entries"),
        ("a: [", "it is no YAML"),
        ("a: &x [1]\nb: *x", r"has an alias \(\*name\)"),
        ("a: !!python/object/apply:os.system ['true']", r"line 1 has a tag \(!name\)"),
        ("out: x\na: !!timestamp x", r"line 2 has a tag \(!name\)"),  # yaml: AttributeError
        ('a: !!int ""', "has a tag"),  # yaml: IndexError
        ("a: !!bool x", "has a tag"),  # yaml: KeyError
        ("a: !!set [b]", "has a tag"),  # yaml: TypeError
        ("a: 1" + ":59" * 400 + ".5", r"a number of 1203 characters; expected at most 64"),
        ("seed: 0x" + "F" * 63, r"a number of 65 characters"),
        ("a: " + "9" * 5000, r"a number of 5000 characters"),
        ("#" * (1 << 20) + "x", "expected at most 1048576"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_run_config(written(tmp_path, text))


def test_many_entries_are_counted_in_one_pass():
    keys = [yaml.ScalarNode("tag:yaml.org,2002:str", f"k{i}") for i in range(30_000)]
    mark = yaml.Mark("a", 0, 0, 0, None, 0)
    node = yaml.MappingNode("tag:yaml.org,2002:map", [(k, k) for k in keys], mark, mark)
    began_s = time.process_time()
    assert len(OnceLoader("").construct_mapping(node, deep=True)) == 30_000
    assert time.process_time() - began_s < 2  # 0.1 s; each counted in all others took 7 s


def test_a_whole_number_that_no_float_holds_is_refused():
    entries = {"model": {"name": "a"}, "data": {"format": "text", "path": "a"}, "out": "x"}
    with pytest.raises(ValueError, match=r"limits\.max_clip_s is int, expected float"):
        run_config({**entries, "limits": {"max_clip_s": 10**400}})


def test_an_absent_file_is_told(tmp_path):
    with pytest.raises(LookupError, match="expected a YAML file"):
        read_run_config(tmp_path / "no.yaml")


@given(
    st.dictionaries(
        st.sampled_from(["model", "data", "out", "kind", "seed", "limits", "lens", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                st.sampled_from(["name", "path", "format", "dtype", "max_words"]) | st.integers(),
                inner, max_size=3,
            ),
            max_leaves=6,
        ),
    )
)  # fmt: skip
def test_any_entries_make_a_config_or_a_value_error(entries):
    try:
        assert isinstance(run_config(entries), RunConfig)
    except ValueError:
        return
