"""The figure of lenses: its lines are the rows of the tables."""

import polars as pl
import pytest
from handmade import word_table

from slm_lens.phases.measure import measure_phases
from slm_lens.views.lens_figure import lens_figure

KL = {
    ("logit", "speech"): [3.0, 2.0, 1.5, 0.0],
    ("logit", "text"): [4.0, 2.5, 1.0, 0.0],
    ("text", "speech"): [2.9, 1.9, 1.4, 0.0],
    ("text", "text"): [2.0, 1.0, 0.5, 0.0],
}
DIVERGENCE = pl.DataFrame(
    [(*key, layer, kl, 7) for key, kls in KL.items() for layer, kl in enumerate(kls)],
    schema=["lens", "positions", "layer", "kl_nats", "n_positions"],
    orient="row",
)


def phases(current):
    words = [{"utterance": u, "current": current, "next": [9, 1, 9, 9]} for u in ("a", "b")]
    return measure_phases(word_table(words, n_layers=3), n_bootstrap=20)


@pytest.fixture(scope="module")
def through():
    return {"logit": phases([9, 1, 9, 9]), "text": phases([9, 1, 2, 9])}


def lines(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines}


def test_the_lines_are_the_tables(through):
    figure = lens_figure(DIVERGENCE, through).matplotlib()
    speech, text, words = figure.axes
    for ax, positions in ((speech, "speech"), (text, "text")):
        assert (
            lines(ax)
            == {
                "logit lens": KL["logit", positions][:-1],  # 0 in the last layer for any lens
                "tuned at text": KL["text", positions][:-1],
            }
        )
        assert ax.get_title() == f"at {positions} positions (n = 7)"
    assert speech.get_ylim() == text.get_ylim()
    assert speech.get_ylim()[0] < 0.5 < 4.0 < speech.get_ylim()[1]
    assert speech.get_yscale() == "log"
    assert lines(words) == {"logit lens": [0, 1, 0, 0], "tuned at text": [0, 1, 1, 0]}
    assert words.get_ylim()[0] == 0
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["logit lens", "tuned at text"]


def test_words_through_the_lens_of_speech_are_drawn_if_given(through):
    figure = lens_figure(DIVERGENCE, through | {"speech": phases([9, 9, 9, 9])}).matplotlib()
    assert lines(figure.axes[2])["tuned at speech"] == [0, 0, 0, 0]
    assert lines(figure.axes[2])["tuned at text"] == [0, 1, 1, 0]


def test_other_names_are_refused(through):
    odd = DIVERGENCE.with_columns(lens=pl.lit("mine"))
    for table, given in ((odd, through), (DIVERGENCE, {"logit": through["logit"]})):
        with pytest.raises(ValueError, match=r"lens_figure: got lenses .* names among \['logit'"):
            lens_figure(table, given)
