"""Tables of traces: means, shares, files."""

import json
from itertools import product
from typing import Any

import polars as pl
import pytest

from slm_lens.interventions.tracing.tracing_result import PROMPTS, SCHEMA, Tracing
from slm_lens.model.provenance import Provenance

PROVENANCE = Provenance(
    "tiny", "by hand", "Qwen2", "float32", "eager", None, False, False, None, hooks=("a",)
)


def make(rows, *, provenance: Provenance | None = PROVENANCE, kept=(True, True, True, False)):
    table = [
        (prompt, modality, "mlp_out", layer, label, role, position, metric, *values, None)
        for prompt, modality, layer, label, role, position, metric, *values in rows
    ]
    prompts = [(f"p{i}", "speech", 9, 2, 5, k, k) for i, k in enumerate(kept)]
    return Tracing(
        pl.DataFrame(table, schema=SCHEMA, orient="row"),
        prompts=pl.DataFrame(prompts, schema=PROMPTS, orient="row"),
        kind="mlp_out",
        at="positions",
        window=2,
        severed=None,
        sigma={"speech": 0.5},
        n_samples=10,
        seed=3,
        engine="resumed",
        provenance=provenance,
    )


# prompt, modality, layer, label, role, position, metric, clean, corrupted, restored
ROWS = [
    ("p0", "speech", 0, "fox", "further", 3, "probability", 0.9, 0.1, 0.5),
    ("p0", "speech", 0, "runs", "further", 4, "probability", 0.9, 0.1, 0.3),
    ("p1", "speech", 0, "dog", "further", 3, "probability", 0.6, 0.2, 0.8),
    ("p2", "text", 0, "owl", "further", 3, "probability", 0.5, 0.3, 0.1),
    ("p0", "speech", 0, "fox", "last", 5, "log_prob", -0.1, -2.1, -1.1),
]


def test_effects():
    rows = make(ROWS).to_frame()
    assert rows["total_effect"].to_list() == pytest.approx([0.8, 0.8, 0.4, 0.2, 2.0])
    assert rows["effect"].to_list() == pytest.approx([0.4, 0.2, 0.6, -0.2, 1.0])


def test_recovery_is_not_clipped():
    shares = make(ROWS).recovery()["recovery"].to_list()
    assert shares == pytest.approx([0.5, 0.25, 1.5, -1.0])


@pytest.mark.parametrize(
    ("value", "speech", "text"),
    [
        ("effect", ((0.4 + 0.2) / 2 + 0.6) / 2, -0.2),
        ("recovery", ((0.5 + 0.25) / 2 + 1.5) / 2, -1.0),
        ("total_effect", (0.8 + 0.4) / 2, 0.2),
    ],
)
def test_means_over_prompts_within_modalities(value, speech, text):
    found = make(ROWS).summary(value=value, n_bootstrap=50)
    assert found["modality"].to_list() == ["speech", "text"]
    assert found["estimate"].to_list() == pytest.approx([speech, text])
    assert found["n_prompts"].to_list() == [2, 1]
    assert found["n_left_out"].to_list() == [0, 0]
    low, high = found["low"][0], found["high"][0]
    assert low <= speech <= high
    # Two effects of one sign: of the four sign patterns two are as far from zero.
    assert found["p_value"].to_list() == [0.5, 1.0]
    whole = make(ROWS).summary(value=value, n_bootstrap=0)
    assert whole["low"].null_count() == 2


def test_places_are_told_apart_by_label():
    found = make(ROWS).summary(by=("label", "position"), n_bootstrap=0)
    assert found.select("label", "position", "estimate").rows()[:2] == [
        ("fox", 3, pytest.approx(0.4)),
        ("runs", 4, pytest.approx(0.2)),
    ]


def test_prompts_that_the_noise_hardly_changes():
    rows = [*ROWS, ("p3", "speech", 0, "x", "further", 3, "probability", 0.5, 0.4995, 0.5)]
    with pytest.raises(ValueError, match=r"got 1 of 4 prompts whose .*, such as \['p3'\]"):
        make(rows).recovery()
    assert make(rows).recovery(min_difference=1e-4)["recovery"].to_list()[-1] == pytest.approx(1)
    found = make(rows).summary(value="recovery", small="leave_out", n_bootstrap=0)
    assert found["n_left_out"].to_list() == [1, 1]
    assert found["n_prompts"].to_list() == [2, 1]
    with pytest.raises(ValueError, match=r"got 4 of 4 prompts"):
        make(rows).recovery(min_difference=5.0, small="leave_out")


def test_refused(untyped):  # noqa: ARG001
    traced = make(ROWS)
    with pytest.raises(ValueError, match=r"Tracing: got the metric 'rank', expected one of"):
        traced.recovery("rank")
    refused: list[dict[str, Any]] = [{"value": "patched"}, {"by": ("layer",)}]
    for options in refused:
        with pytest.raises(ValueError, match=r"summary: got value=.* expected one of"):
            traced.summary(**options)


def test_files(tmp_path):
    traced = make(ROWS)
    assert traced.n_left_out == 1
    traced.write(tmp_path / "new")
    again = Tracing.read(tmp_path / "new")
    assert again.table.equals(traced.table)
    assert again.table.schema == traced.table.schema
    assert again.prompts.equals(traced.prompts)
    assert again.prompts.schema == traced.prompts.schema
    for name in ("kind", "at", "window", "severed", "sigma", "n_samples", "seed", "engine"):
        assert getattr(again, name) == getattr(traced, name)
    assert again.provenance == PROVENANCE

    with pytest.raises(LookupError, match=r"Tracing.read: no tracing.json and no tracing.parquet"):
        Tracing.read(tmp_path)
    with pytest.raises(ValueError, match=r"Tracing.write: got a result without provenance"):
        make(ROWS, provenance=None).write(tmp_path)
    facts = json.loads((tmp_path / "new" / "tracing.json").read_text())
    (tmp_path / "new" / "tracing.json").write_text(json.dumps(facts | {"more": 1}))
    with pytest.raises(ValueError, match=r"has \['more'\] besides"):
        Tracing.read(tmp_path / "new")


def test_intervals_are_of_resampled_prompts():
    values = [0.1, 0.2, 0.4, 0.7]
    rows = [
        (f"p{i}", "speech", 0, "x", "last", 3, "probability", 1.0, 0.0, v)
        for i, v in enumerate(values)
    ]
    found = make(rows).summary(n_bootstrap=4000)
    means = sorted(sum(draw) / 4 for draw in product(values, repeat=4))  # all resamples there are
    assert found["low"][0] == pytest.approx(means[int(0.025 * len(means))], abs=0.02)
    assert found["high"][0] == pytest.approx(means[int(0.975 * len(means))], abs=0.02)
