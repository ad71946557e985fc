"""Tables in a page: order, search, pages of rows, and the CSV that is saved."""

import io

import polars as pl
import pytest
from spoken_by_hand import HOSTILE

TABLE = pl.DataFrame(
    {
        "word": ["fox", HOSTILE, None, 'say "a, b"\nc', "ant"],
        "rank": [3, None, 1, 20, 3],
        "share": [0.25, 1e-9, None, -0.5, 1 / 3],
        "is_content": [True, False, None, True, True],
    }
)


def shown(table=TABLE, **options):
    from slm_lens.views.table import table_view

    return table_view(table, title="Words", description="A row for each word.", **options)


def column(page, number):
    return page.locator(f"tbody td:nth-child({number})").all_inner_texts()


def test_cells_are_those_of_the_table(browser_page):
    page = browser_page.open(shown())
    names = [b.inner_text() for b in page.locator("thead button").all()]
    assert names == TABLE.columns
    assert page.locator("tbody td:nth-child(1)").nth(1).text_content() == HOSTILE
    assert column(page, 2) == ["3", "–", "1", "20", "3"]
    assert column(page, 3) == ["0.250", "1.00e-9", "–", "−0.500", "0.333"]
    assert column(page, 4) == ["true", "false", "–", "true", "true"]
    assert page.locator("img").count() == 0


def test_a_heading_sorts_up_then_down_then_not(browser_page):
    page = browser_page.open(shown())
    head = page.locator("thead th").nth(1)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, 2) == ["1", "3", "3", "20", "–"]
    assert column(page, 1)[1:3] == ["fox", "ant"]  # equal ones keep their order
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, 2) == ["20", "3", "3", "1", "–"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, 2) == ["3", "–", "1", "20", "3"]


def test_the_csv_has_all_rows_and_digits(browser_page):
    page = browser_page.open(shown(file_name="words.csv", page_rows=2))
    assert page.locator("tbody tr").count() == 2
    with page.expect_download() as begun:
        page.get_by_role("button", name="save as CSV").click()
    assert begun.value.suggested_filename == "words.csv"
    with open(begun.value.path(), "rb") as file:  # noqa: PTH123 (a path of Playwright)
        found = pl.read_csv(io.BytesIO(file.read()), schema_overrides={"is_content": pl.Boolean})
    assert found["word"].to_list() == TABLE["word"].to_list()
    assert found["rank"].to_list() == TABLE["rank"].to_list()
    assert found["share"].to_list() == TABLE["share"].to_list()  # every digit
    assert found["is_content"].to_list() == TABLE["is_content"].to_list()


def test_rows_come_in_pages_and_are_searched(browser_page):
    table = pl.DataFrame({"name": [f"word {i}" for i in range(45)], "n": list(range(45))})
    page = browser_page.open(shown(table))
    count = page.locator(".count")
    assert count.inner_text() == "rows 1 to 20 of 45"
    page.get_by_role("button", name="later rows ›").click()
    page.get_by_role("button", name="later rows ›").click()
    assert column(page, 2) == ["40", "41", "42", "43", "44"]
    assert page.get_by_role("button", name="later rows ›").is_disabled()
    page.get_by_label("rows with").fill("WORD 4")
    assert column(page, 2) == ["4", "40", "41", "42", "43", "44"]
    page.get_by_label("rows with").fill("nothing")
    assert count.inner_text() == "no rows"


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_telephone_and_a_desk(browser_page, no_overflow, width):
    no_overflow(browser_page.open(shown(), width=width))


def test_what_is_no_table():
    with pytest.raises(ValueError, match=r"table_view: got a table without columns"):
        shown(pl.DataFrame())
    with pytest.raises(ValueError, match=r"got column 'x' of List\(Int64\), expected strings"):
        shown(pl.DataFrame({"x": [[1, 2]]}))
