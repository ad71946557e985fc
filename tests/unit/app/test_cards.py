import re
from html.parser import HTMLParser

import polars as pl
import pytest
import torch

from slm_lens.app.cards import framed, heard_card, patching_card, steered_card, words_table
from slm_lens.app.events import progress_bar, refusal, shown, word_choices
from slm_lens.app.hearing import Heard
from slm_lens.app.steering import Continued
from slm_lens.app.workbench import Step, Workbench
from slm_lens.interventions.pairs.run_pair import Direction
from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.speech.alignment import AlignedWord, Alignment

HOSTILE = "</script><img src=x onerror=alert(1)>"
OURS = {"div", "h2", "p", "small", "span", "audio", "b", "table", "caption", "thead", "tbody",
        "tr", "th", "td"}  # fmt: skip


class Tags(HTMLParser):
    """Tags and text of some HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not {name for name, _ in attrs if name.startswith("on")}

    def handle_data(self, data):
        self.text += data


def clip(words=(HOSTILE, "zebra"), name=HOSTILE):
    aligned = Alignment(tuple(AlignedWord(w, i / 4, (i + 1) / 4) for i, w in enumerate(words)))
    return Heard(name, 0.1 * torch.ones(1600), 1600, aligned, "text, roughly aligned")


def patching(direction: Direction = "denoising"):
    rows = [("p", "resid_pre", layer, None, layer, label, role, 3, "logit_difference", 4.0, -1.0,
             patched) for layer, label, role, patched in
            [(0, HOSTILE, "changed", 3.0), (0, "<end>", "end", -1.0),
             (1, HOSTILE, "changed", -2.0), (1, "<end>", "end", 4.0)]]  # fmt: skip
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return Patching(table, direction, "words", "warp", "whole", None)


@pytest.mark.parametrize(
    "made",
    [
        heard_card(clip(), 7),
        steered_card([Continued(0.0, HOSTILE, (HOSTILE, "-"), (None, 7), 1, 1)], [None], 16_000),
        words_table(HOSTILE, [HOSTILE], [[HOSTILE]]),
        refusal(ValueError(HOSTILE)),
        patching_card(
            [HOSTILE],
            pl.DataFrame({"layer": [0], "place": [HOSTILE], "estimate": [0.8]}),
            patching(), HOSTILE, HOSTILE,
        ),
    ],
)  # fmt: skip
def test_hostile_text_stays_text(made):
    read = Tags(made)
    assert read.tags <= OURS
    assert HOSTILE in read.text


def test_a_clip_says_where_its_words_are_from():
    read = Tags(heard_card(clip(("the", "zebra"), "z"), 7))
    assert "1.00 s, 7 units" in read.text
    assert "zebra 0.25 s" in read.text
    assert "Their times are rough" in read.text
    alone = Heard("z", torch.ones(1600), 1600, None, "nothing")
    assert "Words are not known" in Tags(heard_card(alone, 7)).text


def test_units_are_bare_numbers_and_text_is_read_together():
    spoken = Continued(1.5, "", ("<Un7>", "[Hu12]"), (7, 12), 0, 2)
    written = Continued(0.0, "the desert", (" the", " des", "ert"), (None,) * 3, 3, 0)
    made = steered_card([written, spoken], [None, torch.zeros(1600)], 1600)
    read = Tags(made)
    assert "7 12" in read.text
    assert "Un" not in read.text
    assert "Hu" not in read.text
    assert "the desert" in read.text
    assert "Steered, strength 1.5" in read.text
    assert made.count("<audio") == 1
    assert "The model has no voice" in read.text


def test_the_heat_map_has_the_numbers():
    table = pl.DataFrame(
        {"layer": [0, 0, 1], "place": ["1 a", "end", "1 a"], "estimate": [0.8, -0.001, -1.5]}
    )
    table = pl.concat([table, pl.DataFrame({"layer": [1], "place": ["end"], "estimate": [0.0]})])
    made = patching_card(["1 a"], table, patching(), "yes", "no")
    assert 'data-layer="0" data-place="1 a" data-value="0.8000"' in made
    assert made.index(">-1.50<") < made.index(">0.80<")  # layers go upwards
    assert ">-0.00<" not in made
    assert "4.00 after the sentence, -1.00" in made
    assert "won back" in made
    assert "lost" in patching_card(["1 a"], table, patching("noising"), "yes", "no")


def test_a_frame_comes_without_its_script():
    class Shown:
        def _repr_html_(self):
            return '<iframe srcdoc="&lt;/iframe&gt;"></iframe>\n<script>1</script>'

    assert framed(Shown()) == '<iframe srcdoc="&lt;/iframe&gt;"></iframe>'


def test_a_refusal_keeps_what_was_shown():
    def steps():
        yield Step(1, 3, "<p>so far</p>")
        raise ValueError("got <b>, expected c")

    first, last = shown(steps())
    assert first.endswith("<p>so far</p>")
    assert 'value="1"' in first
    assert "got &lt;b&gt;, expected c" in last
    assert last.endswith("<p>so far</p>")


def test_our_own_mistakes_are_no_refusals():
    def steps():
        raise AssertionError("ours")
        yield

    with pytest.raises(AssertionError, match="ours"):
        list(shown(steps()))


def test_there_is_no_bar_at_the_end():
    assert progress_bar(Step(2, 2, "")) == ""


def test_choices_of_words_are_numbered():
    exchanged, end, _ = word_choices(clip(("the", "cat", "and", "the")))
    assert exchanged["choices"] == [("1 the", 0), ("2 cat", 1), ("3 and", 2), ("4 the", 3)]
    assert exchanged["value"] == 1
    assert end["choices"][0] == ("with the clip", 0)
    assert end["choices"][4] == ("after 4 the", 4)
    none, end, _ = word_choices(None)
    assert none["choices"] == []
    assert none["value"] is None
    assert len(end["choices"]) == 1


def test_a_workbench_needs_a_model():
    with pytest.raises(ValueError, match="got no model, expected at least one"):
        Workbench({})


@pytest.mark.parametrize("value", [x / 100 for x in range(-120, 121, 3)])
def test_numbers_of_the_heat_map_have_a_contrast_of_four_and_a_half(value):
    """WCAG 2.2: relative luminance, and (lighter + 0.05) / (darker + 0.05)."""
    from slm_lens.app.cards import _cell

    style = re.search(r"rgb\((\d+),(\d+),(\d+)\);color:#(\w)", _cell(0, "a", value))
    assert style
    linear = [((int(c) / 255 + 0.055) / 1.055) ** 2.4 if int(c) > 10 else int(c) / 255 / 12.92
              for c in style.groups()[:3]]  # fmt: skip
    paper = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    ink = 1.0 if style[4] == "f" else 0.0
    assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) >= 4.5
