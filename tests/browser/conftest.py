"""A real browser without a network: pages of views are opened in it, and must be silent."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> str | None:
    """The system's Chromium, or the one that ``SLM_LENS_CHROMIUM`` names."""
    named = os.environ.get("SLM_LENS_CHROMIUM")
    return named or next((found for name in _NAMES if (found := shutil.which(name))), None)


@dataclass
class BrowserPages:
    """Opens pages, and keeps what they complained about and asked for.

    Attributes:
        browser: Chromium, through Playwright.
        folder: where pages are written before they are opened.
        complaints: errors and warnings of the console, uncaught errors and dialogs.
        requests: addresses that pages asked for, besides themselves and what they hold.
    """

    browser: Any
    folder: Path
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _contexts: list[Any] = field(default_factory=list)

    def open(
        self, shown: Any, *, width: int = 1280, height: int = 900, theme: str = "light"
    ) -> Any:
        """Open a `View`, a `Page` or the text of an HTML file; the page is drawn when this returns.

        Returns:
            A Playwright page.
        """
        text = shown if isinstance(shown, str) else shown.html()
        path = self.folder / f"page{len(self._contexts)}.html"
        path.write_text(text, encoding="utf-8")
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, offline=True
        )
        self._contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self._asked(request.url, path.as_uri()))
        page.goto(path.as_uri())
        if "slmLens.start()" in text and "<iframe" not in text:
            page.locator("html[data-ready=true]").wait_for()  # a function would need eval
        return page

    def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            context.close()

    def _heard(self, message: Any) -> None:
        # How long software WebGL waits is said of the machine, not of the page.
        if message.type in ("error", "warning") and "GL Driver Message" not in message.text:
            self.complaints.append(message.text)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str, own: str) -> None:
        if url != own and not url.startswith(("data:", "blob:", "about:srcdoc")):
            self.requests.append(url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests."""
    path = chromium()
    if path is None:
        pytest.skip(
            f"no Chromium: none of {_NAMES} is on the path and SLM_LENS_CHROMIUM is not set; "
            "`apt-get install chromium` brings it"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def browser_with(browser: Any) -> Iterator[Callable[..., Any]]:
    """Starts one more Chromium, with further arguments."""
    opened = []

    def start(*arguments: str) -> Any:
        more = [*_ARGUMENTS, *arguments]
        opened.append(browser.browser_type.launch(executable_path=chromium(), args=more))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def browser_page(browser: Any, tmp_path: Path) -> Iterator[BrowserPages]:
    """Pages in a browser without network; no error and no request may have come from them."""
    pages = BrowserPages(browser, tmp_path)
    yield pages
    pages.close()
    assert pages.complaints == []
    assert pages.requests == []


@pytest.fixture
def no_overflow() -> Callable[[Any], None]:
    """Checks that a page is not wider than the window."""

    def check(page: Any) -> None:
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"the page is {wide} px wider than the window"

    return check
