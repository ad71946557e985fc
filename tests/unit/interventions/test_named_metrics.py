"""Metrics by name."""

import pytest

from slm_lens.cli.patch import MetricName
from slm_lens.interventions.metrics import logit_difference, modality_mass
from slm_lens.interventions.named_metrics import METRIC_NAMES, named_metrics


def test_names_are_those_of_tables_and_of_the_command_line():
    assert [m.name for m in named_metrics(METRIC_NAMES, "f")] == list(METRIC_NAMES)
    assert tuple(MetricName) == METRIC_NAMES


def test_metrics_are_those_that_functions_give():
    found = named_metrics(["speech_mass", "logit_difference"], "f")
    assert found == [modality_mass("speech", name="speech_mass"), logit_difference()]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rnk"], r"f: got the metric 'rnk', expected some of \('logit_difference', .*Is 'rank' m"),
        (["zzz"], r"f: got the metric 'zzz', expected some of .*\)\.$"),
        ([], r"f: got the metrics \[\], expected at least one of"),
        (["rank", "rank"], r"f: got the metrics \['rank', 'rank'\], .* none twice"),
    ],
)
def test_names_that_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        named_metrics(names, "f")
