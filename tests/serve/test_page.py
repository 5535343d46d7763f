"""The page in headless Chromium against the real API with the tiny model, in three widths."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect, sync_playwright

from support.hostile import MARKUP as XSS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
SECONDS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield found
        found.close()


@pytest.fixture
def opened(browser, client):
    """Call it for a page of a width; what the browser complains of fails the test at its end."""
    complaints, contexts = [], []

    def start(width: int = 1280, address: str = str(client.base_url), key: str = "", **settings):
        context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.goto(address)
        if key:
            page.fill("#secret", key)
            page.click("#key button")
        page.wait_for_selector("#database option", state="attached")
        return page

    yield start
    for context in contexts:
        context.close()
    known = ("401", "422", "ERR_CONNECTION_REFUSED")  # what the tests provoke
    assert not [text for text in complaints if not any(word in text for word in known)]


def ask(page, question: str, database: str = "zoo") -> None:
    if page.input_value("#database") != database:
        page.select_option("#database", database)
    page.fill("#question", question)
    page.keyboard.press("Enter")
    page.wait_for_selector("#send:enabled")


@pytest.mark.parametrize(
    ("width", "scheme", "locale"), [(1280, "light", "en-US"), (820, "dark", "zh-CN"), (380, "light", "en-US")]
)
def test_asking_editing_and_running(opened, width, scheme, locale) -> None:
    page = opened(width, color_scheme=scheme, locale=locale)
    assert page.text_content("#send") == ("提问" if locale == "zh-CN" else "Ask")
    ask(page, "how many animals are there for each species")
    page.wait_for_selector("#result:not([hidden])")
    assert "GROUP BY species" in page.text_content("#sql")
    assert page.locator("#table tbody tr").count() == 7
    page.click("#tab-chart")
    assert page.locator("#chart canvas").is_visible() and page.get_attribute("#chart canvas", "aria-label")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{wide} pixels wide on a screen of {width}"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(17, 20, 27)") == (scheme == "dark")

    page.fill("#sql", "SELECT count(*) AS keepers FROM keepers")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#table th").first).to_have_text("keepers", timeout=SECONDS)
    assert page.text_content("#table td") == "24"
    page.fill("#sql", "SELECT lost FROM keepers")
    page.click("#run")
    page.wait_for_selector("#notes .bad")
    assert "no such column: lost" in page.text_content("#notes")
    page.reload()
    page.wait_for_selector("#past button", state="attached")
    assert "for each species" in page.text_content("#past"), "the browser remembers"


def test_languages_and_follow_ups(opened) -> None:
    page = opened(locale="en-US")
    page.click("#language")
    assert (page.text_content("#run"), page.get_attribute("html", "lang")) == ("运行", "zh")
    ask(page, "")
    assert page.locator("#follow").is_hidden()
    ask(page, "how many keepers are there")
    page.wait_for_selector("#follow:not([hidden])")
    page.check("#follows")
    with page.expect_request("**/v1/text2sql") as sent:
        ask(page, "show the name")
    assert sent.value.post_data_json["history"] == [
        {"question": "how many keepers are there", "sql": "SELECT count(*) FROM keepers"}
    ]


def test_hostile_names_and_cells_stay_text(opened) -> None:
    page = opened()
    ask(page, XSS, "odd")
    page.fill("#sql", f'SELECT * FROM "{XSS}"')
    page.keyboard.press("Control+Enter")
    expect(page.locator("#table tbody tr")).to_have_count(4, timeout=SECONDS)
    assert (
        XSS in page.text_content("#table")
        and XSS in page.text_content("#tables")
        and XSS in page.text_content("#asked")
    )
    assert page.locator("#table img, #tables img, #asked img, #sql img, #past img, main script").count() == 0


def test_keys_and_a_server_that_ends_are_said(opened, serving, tmp_path) -> None:
    (tmp_path / "keys").write_text("the-key\n")
    with serving(api_keys=tmp_path / "keys") as own:
        page = opened(address=str(own.base_url), locale="en-US", key="the-key")
        assert page.locator("#database option").count() == 2
    page.fill("#question", "how many keepers are there")
    page.keyboard.press("Enter")
    page.wait_for_selector("#banner:not([hidden])")
    assert "cannot be reached" in page.text_content("#banner")
