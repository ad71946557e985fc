import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from handmade import PROVENANCE, word_table
from matplotlib.figure import Figure

from slm_lens.phases.measure import measure_phases
from slm_lens.views.chart import save_figure
from slm_lens.views.phases_figure import phases_figure

WORDS = [
    {"utterance": u, "current": [9, 1, 3, 9], "next": [9, 9, 1, 6], "speech": [0.9, 0.2, 0.3, 0.9]}
    for u in ("a", "b")
] + [{"utterance": "b", "current": [9, 9, 9, 9], "next": [9, 9, 9, 9], "speech": [0.8] * 4}]


@pytest.fixture(scope="module")
def by_hand():
    lens = word_table(WORDS, n_layers=3)
    return measure_phases(lens, n_bootstrap=50, controls={"random weights": lens})


def texts(figure):
    return [t.get_text() for ax in figure.axes for t in ax.texts]


def lines(ax):
    return [list(line.get_ydata()) for line in ax.lines]


def test_the_lines_are_the_curves(by_hand):
    figure = phases_figure(by_hand).matplotlib()
    upper, lower = figure.axes
    for target, pool in (("current", "max"), ("next", "last")):
        for control in ("none", "shuffled", "random weights"):
            rows = by_hand.curve(
                f"{target}_word_recall", control=control, vocab="text", pool=pool, k=5
            )
            assert rows["estimate"].to_list() in lines(upper)
    for measure in ("text_mass", "speech_mass", "text_argmax", "speech_argmax"):
        assert by_hand.curve(measure)["estimate"].to_list() in lines(lower)
    assert upper.get_ylim()[0] == 0
    assert "3 content words, 2 utterances" in texts(figure)
    keys = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    assert {"shuffled words", "random weights", "speech mass"} <= set(keys)


def test_peaks_and_the_return_are_marked_at_their_layers(by_hand):
    upper, lower = phases_figure(by_hand).matplotlib().axes
    markers = {line.get_marker(): line for line in upper.lines if line.get_marker() != "None"}
    assert markers["o"].get_xdata() == [1]
    assert markers["o"].get_ydata() == pytest.approx([2 / 3])
    assert markers["s"].get_xdata() == [2]
    assert [t.get_position()[0] for t in lower.texts] == [by_hand.return_to_speech.layer == 3 and 3]


def test_one_column_for_each_model_on_one_scale(by_hand):
    strong = measure_phases(
        word_table(WORDS[:2], n_layers=3, provenance=replace(PROVENANCE, name="strong")),
        n_bootstrap=0,
    )
    figure = phases_figure([by_hand, strong]).matplotlib()
    assert [ax.get_title() for ax in figure.axes] == ["by hand", "strong", "", ""]
    assert len({ax.get_ylim() for ax in figure.axes[:2]}) == 1
    assert figure.axes[0].get_ylim()[1] >= 1  # the strong model's recall is 1, and is in view


def test_without_controls_intervals_and_next_words():
    words = [{"utterance": "a", "current": [9, 1], "next": None, "is_last": True}]
    phases = measure_phases(word_table(words, n_layers=1, n_draws=0), n_bootstrap=0)
    figure = phases_figure(phases).matplotlib()
    assert "return to speech" not in texts(figure)
    keys = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    assert "shuffled words" not in keys
    assert "random weights" not in keys


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match=r"phases_figure: got no results"):
        phases_figure([])


def test_saved_as_png_and_svg_twice_the_same(by_hand, tmp_path):
    stem = tmp_path / "new" / "phases.v1"
    png, svg = save_figure(phases_figure(by_hand), stem)
    assert (png.name, svg.name) == ("phases.v1.png", "phases.v1.svg")
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "recall@5 in text</text>" in svg.read_text()  # text stays text
    first = svg.read_bytes()
    save_figure(phases_figure(by_hand), stem)
    assert svg.read_bytes() == first
    assert len(list(stem.parent.iterdir())) == 2


def test_an_interruption_leaves_no_file(by_hand, tmp_path, monkeypatch):
    def interrupted(_figure, path, **_options):
        path.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_figure(phases_figure(by_hand), tmp_path / "phases")
    assert list(tmp_path.iterdir()) == []


def test_many_layers_have_few_ticks():
    n_layers = 80
    words = [{"utterance": "a", "current": [1] * (n_layers + 1), "next": [1] * (n_layers + 1)}]
    words[0]["speech"] = np.linspace(0, 1, n_layers + 1).tolist()
    phases = measure_phases(word_table(words, n_layers=n_layers), n_bootstrap=0)
    assert phases_figure(phases).matplotlib().axes[1].get_xticks().tolist() == list(
        range(0, 81, 10)
    )


@pytest.mark.slow
def test_drawing_leaves_pyplot_alone_and_importing_leaves_matplotlib_alone():
    code = (
        "import sys, slm_lens.views.phases_figure as v; assert 'matplotlib' not in sys.modules;"
        "from slm_lens.phases.measure import measure_phases; assert 'transformer_lens' not in "
        "sys.modules; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pyplot_is_not_touched(by_hand):
    before = "matplotlib.pyplot" in sys.modules
    phases_figure(by_hand).matplotlib()
    assert ("matplotlib.pyplot" in sys.modules) == before
