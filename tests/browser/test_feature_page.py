"""The page of features: what is shown of each, in which colours, and that clips are heard."""

import numpy as np
import polars as pl
import pytest
import torch

HOSTILE = "</script><img src=x onerror=alert(1)>"
RATE_HZ = 16000


def dashboard():
    """Two features; a clip of two words ("hi", four units; a hostile one, two), and one written."""
    from slm_lens.features.dashboard import N_BINS, FeatureDashboard

    some = [0] * (N_BINS - 1)
    features = pl.DataFrame(
        {
            "feature": [7, 30],
            "tag": ["speech", "mixed"],
            "speech_share": [1.0, 0.5],
            "density": [0.25, 0.01],
            "n_active": [40, 9],
            "mean_active": [2.0, 1.0],
            "peak": [4.0, 2.0],
            "word_speech": ["hi", HOSTILE],
            "f1_speech": [0.5, 0.9],
            "auroc_speech": [0.75, 0.95],
            "n_speech": [12, 6],
            "histogram_speech": [[*some, 10], [*some, 4]],
            "histogram_text": [[*some, 30], [5, *some]],
            "promoted": [[" a", HOSTILE], [" a", "<Un3>"]],
            "promoted_logit": [[1.5, 0.5], [1.0, 0.25]],
            "suppressed": [["<Un3>"], ["<Un4>"]],
            "suppressed_logit": [[-1.25], [-0.5]],
        }
    )
    activations = pl.DataFrame(
        {
            "feature": [7, 7, 30, 30],
            "utterance": ["clip", "clip", "clip, written", "clip"],
            "position": [1, 2, 1, 4],
            "activation": [4.0, 1.0, 2.0, 0.5],
        }
    ).cast({"activation": pl.Float32})
    units = [("clip", i, "speech", f"<Un{i}>", i, int(i >= 4)) for i in range(6)]
    texts = [("clip, written", 0, "marker", "<text>", None, None)]
    texts += [("clip, written", i + 1, "text", w, None, i) for i, w in enumerate((" hi", HOSTILE))]
    positions = pl.DataFrame(
        units + texts,
        schema=["utterance", "position", "kind", "label", "unit", "word"],
        orient="row",
    )
    words = pl.DataFrame(
        [
            ("clip", 0, "hi", "speech", 0.0, 0.2),
            ("clip", 1, HOSTILE, "speech", 0.2, 0.5),
            ("clip, written", 0, "hi", "text", None, None),
            ("clip, written", 1, HOSTILE, "text", None, None),
        ],
        schema=["utterance", "word", "written", "modality", "start_s", "end_s"],
        orient="row",
    )
    return FeatureDashboard(features, activations, positions, words)


def page(*, with_sound=True):
    from slm_lens.views.feature_page import feature_page

    n = RATE_HZ // 2
    tone = 0.4 * torch.sin(torch.arange(n) / RATE_HZ * 2 * np.pi * 300).float()
    return feature_page(dashboard(), {"clip": (tone, RATE_HZ)} if with_sound else {})


def test_numbers_of_a_feature_are_shown(browser_page, no_overflow):
    shown = browser_page.open(page())
    told = dict(
        zip(
            shown.locator(".fact dt").all_inner_texts(),
            shown.locator(".fact dd").all_inner_texts(),
            strict=True,
        )
    )
    assert told["tag"] == "speech"
    assert told["speech among top positions"] == "100 %"
    assert told["active at"].startswith("25.0 % of a sample")
    assert told["word, spoken"] == "hi (F1 0.50, AUROC 0.75, n = 12)"
    assert "word, written" not in told
    assert "speech (10)" in shown.locator("figcaption").inner_text()
    assert "text (30)" in shown.locator("figcaption").inner_text()
    last = shown.locator(".bin").last
    assert last.get_attribute("title") == "3.8 to 4.0: 10 speech, 30 text"
    heights = [b.bounding_box()["height"] for b in last.locator(".bar").all()]
    assert heights[0] == pytest.approx(3 * heights[1], rel=0.05)
    promoted = shown.locator(".token-list").first.locator("li").all_inner_texts()
    assert promoted[0].split() == ["·a", "1.50"]
    assert HOSTILE.replace(" ", "·") in promoted[1]
    assert shown.locator("img").count() == 0
    no_overflow(shown)


def test_words_and_units_carry_the_activation(browser_page):
    shown = browser_page.open(page())
    assert shown.locator(".example").count() == 1
    assert "peak 4.00 at “hi”" in shown.locator(".example-peak").inner_text()
    chips = shown.locator(".word-chip")
    assert chips.all_inner_texts() == ["hi", HOSTILE]
    assert chips.nth(0).get_attribute("title") == "hi: 4.00"
    cells = shown.eval_on_selector_all(".cell", "all => all.map(c => Number(c.dataset.value))")
    assert cells == [0, 4, 1, 0, 0, 0]
    painted = shown.eval_on_selector_all(
        ".cell", "all => all.map(c => getComputedStyle(c).backgroundColor)"
    )
    assert painted[0] == painted[3] == "rgba(0, 0, 0, 0)"
    darkness = [sum(map(int, p[4:-1].split(","))) for p in painted[1:3]]
    assert darkness[0] < darkness[1]  # the darker, the more active


def test_another_feature_and_the_list(browser_page):
    shown = browser_page.open(page())
    entries = shown.locator(".feature-entry")
    assert entries.count() == 2
    entries.nth(1).click()
    assert shown.locator(".feature-detail h3").inner_text() == "Feature 30"
    kinds = shown.locator(".example-kind").all_inner_texts()
    assert kinds == ["written", "spoken"]
    written = shown.locator(".example.text")
    assert written.locator(".cell").count() == 0
    assert written.locator(".word-chip").first.is_disabled()
    shown.get_by_label("order", exact=True).select_option("best word")
    assert entries.first.get_attribute("data-feature") == "30"
    shown.get_by_label("tag", exact=True).select_option("speech")
    assert [e.get_attribute("data-feature") for e in entries.all()] == ["7"]


def test_a_word_and_the_clip_are_heard(browser_page):
    shown = browser_page.open(page())
    view = shown.locator("[data-kind=features] .drawing")
    shown.locator(".word-chip").first.click()
    shown.wait_for_selector("[data-playing=true]")
    shown.wait_for_selector("[data-playing=false]")
    shown.locator(".hear-clip").click()
    shown.wait_for_selector("[data-playing=true]")
    shown.get_by_role("button", name="stop").click()
    shown.wait_for_selector("[data-playing=false]")
    assert view.get_attribute("data-playing") == "false"


def test_without_sound_nothing_offers_to_play(browser_page):
    shown = browser_page.open(page(with_sound=False))
    assert shown.locator(".hear-clip").count() == 0
    assert shown.locator(".word-chip").count() == 2
    assert shown.locator(".word-chip:enabled").count() == 0


def test_a_narrow_window(browser_page, no_overflow):
    no_overflow(browser_page.open(page(), width=420))


def test_no_feature_is_no_page():
    from dataclasses import replace

    from slm_lens.views.feature_page import feature_page

    empty = replace(dashboard(), features=dashboard().features.clear())
    with pytest.raises(ValueError, match="feature_page: got no feature"):
        feature_page(empty, {})
