"""A study as a page of Markdown with its figures and tables beside it."""

from pathlib import Path

import polars as pl

from slm_lens._atomic import write_atomically
from slm_lens.studies.catalogue import find_study
from slm_lens.studies.study import Study
from slm_lens.studies.study_result import StudyResult
from slm_lens.views.chart import save_figure
from slm_lens.views.study_figures import study_figures
from slm_lens.views.study_pages import study_pages

_DIGITS = 3
_LONGEST_TABLE = 60


def report_study(result: StudyResult, out: Path) -> Path:
    """Write a study: tables, figures, and a page that fills in the numbers.

    Args:
        result: what the study found.
        out: folder, made if needed: ``study.json``, a Parquet file for each table, PNG and SVG of
            each figure, an HTML file for each interactive page, and ``README.md``, the page.

    Returns:
        The page.

    Raises:
        LookupError: nothing draws this study.
    """  # noqa: DOC502 (raised by study_figures)
    figures, pages = study_figures(result), study_pages(result)
    result.write(out)
    for name, chart in figures.items():
        save_figure(chart, out / name)
    for name, page in pages.items():
        page.save(out / f"{name}.html")
    text = study_page(
        result,
        {name: c.description for name, c in figures.items()},
        {f"{name}.html": page.title or name for name, page in pages.items()},
    )
    page = out / "README.md"
    write_atomically(page, lambda part: part.write_text(text, encoding="utf-8"))
    return page


def study_page(
    result: StudyResult, figures: dict[str, str], pages: dict[str, str] | None = None
) -> str:
    """The page of a study.

    Args:
        result: what it found.
        figures: description of each figure by the name of its file, without ending.
        pages: title of each interactive page by the name of its file; None for none.

    Returns:
        Markdown.
    """
    study = find_study(result.study)
    parts = [f"# {study.question}", "## Found", _bullets(result.findings)]
    parts += [f"![{words}]({name}.png)\n\n{words}" for name, words in figures.items()]
    for name, table in result.tables.items():
        if table.on_page:
            parts.append(f"**{name}.** {table.caption}\n\n{_markdown(table.frame)}")
    parts += [
        "## How",
        _bullets(_how(study, result)),
        "## Files",
        _bullets(_files(result, pages or {})),
    ]
    return "\n\n".join(parts) + "\n"


def _how(study: Study, result: StudyResult) -> list[str]:
    settings = ", ".join(f"{k}={v!r}" for k, v in result.settings.items())
    return [
        f"Study `{study.name}`, with {settings}.",
        f"Source: {study.source}",
        f"As there: {study.reproduced}",
        f"Chosen here: {study.chosen}",
        f"Controls: {study.controls}",
        *(f"Model `{name}`: {p.in_words()}." for name, p in result.provenance.items()),
    ]


def _files(result: StudyResult, pages: dict[str, str]) -> list[str]:
    interactive = [f"`{name}`: {title}; interactive, offline." for name, title in pages.items()]
    return interactive + [
        f"`{n}.parquet`: {len(t.frame)} rows. {t.caption}" for n, t in result.tables.items()
    ]


def _bullets(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _markdown(frame: pl.DataFrame) -> str:
    assert len(frame) <= _LONGEST_TABLE, "a longer table is no reading"
    rows = [[_cell(v) for v in row] for row in frame.iter_rows()]
    head = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.width]
    return "\n".join(head + ["| " + " | ".join(row) + " |" for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}f}" if abs(value) < 1000 else f"{value:.4g}"
    return str(value).replace("|", "\\|")
