"""What patching did, in a browser: every cell against the table."""

import polars as pl
import pytest
from grid_by_hand import make_provenance
from spoken_by_hand import HOSTILE, make_sequence

PLACES = [(2, "the"), (5, HOSTILE), (8, "fox"), (12, "end")]


def make_patching(**changes):
    from slm_lens.interventions.patching.patching_result import SCHEMA, Patching

    rows = []
    for m, metric in enumerate(("logit difference", "probability")):
        for layer in range(3):
            for p, (position, label) in enumerate(PLACES):
                value = (-1) ** p * (0.25 * layer + p + m)
                rows.append(("pair 1", "resid_post", layer, None, layer, label, "role", position,
                             metric, 4.0, -2.0, -2.0 + value))  # fmt: skip
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(
        *(pl.lit(v).cast(SCHEMA[k]).alias(k) for k, v in changes.items())
    )
    return Patching(table, "denoising", "words", "warp", "resumed", make_provenance())


def shown(**options):
    from slm_lens.views.patching_map import patching_map

    return patching_map(make_patching(), make_sequence(), **options)


@pytest.mark.parametrize("number", [0, 1])
def test_cells_are_those_of_the_table(browser_page, number):
    page = browser_page.open(shown())
    page.get_by_label("measured and patched").select_option(index=number)
    table = make_patching().to_frame()
    metric = ("logit difference", "probability")[number]
    cells = page.locator("td[role=gridcell]")
    assert cells.count() == 3 * len(PLACES)
    for cell in cells.all():
        layer, place = (int(cell.get_attribute(f"data-{n}")) for n in ("layer", "place"))
        row = table.filter(metric=metric, layer=layer, position=PLACES[place][0])
        assert float(cell.get_attribute("data-effect")) == row["effect"].item()
        assert cell.inner_text() == f"{row['effect'].item():.2f}".replace("-", "−")
    heads = page.locator("thead .written").all_inner_texts()
    assert heads == ["the", HOSTILE, "fox", "end"]
    assert page.locator("img").count() == 0


def test_a_cell_selects_its_word(browser_page):
    page = browser_page.open(shown())
    page.locator("td[data-layer='1'][data-place='2']").click()
    assert page.locator("th.selected .written").inner_text() == "fox"
    assert page.locator("td.selected").get_attribute("data-effect") == "2.25"
    assert "“fox” (position 8), layer 1: effect 2.250" in page.locator(".status").inner_text()
    page.keyboard.press("ArrowLeft")
    assert f"“{HOSTILE}” (position 5)" in page.locator(".status").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_telephone_and_a_desk(browser_page, no_overflow, width):
    no_overflow(browser_page.open(shown(), width=width))


@pytest.mark.parametrize("changes", [{"position": None}, {"position": 13}])
def test_places_without_a_position_are_refused(changes):
    from slm_lens.views.patching_map import patching_map

    with pytest.raises(ValueError, match=r"patching_map: got 1 pairs and positions"):
        patching_map(make_patching(**changes), make_sequence())
