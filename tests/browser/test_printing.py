"""On paper: a conversation with all that is loaded, and a recall as a record that can be filed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console
from tests.browser.steps import confirm, group_talk, is_ready, load_older, open_talk, review, tick, wait_until

OpenBrowser = Callable[..., Page]


def printed(page: Page, folder: Path) -> str:
    """The text of the page as it is printed, from the PDF if there is a program to read it, else from the page."""
    path = folder / "page.pdf"
    page.pdf(path=path, format="A4")
    if program := shutil.which("pdftotext"):
        done = subprocess.run([program, "-layout", str(path), "-"], capture_output=True, text=True, check=True)
        return done.stdout
    page.emulate_media(media="print")
    return page.locator("body").inner_text()


def on_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_loaded_messages_are_printed_in_order(
    console: Console, open_browser: OpenBrowser, tmp_path: Path, theme: str
) -> None:
    page = open_browser(**{"color_scheme": theme})
    talk = group_talk(console, 70)
    open_talk(page, talk)
    expect(page.locator("#messages .message")).to_have_count(60)
    # Neither a filter nor the pane that a narrow window shows takes anything from the paper.
    page.locator("#filter").fill("message 15")
    page.goto(page.url + "#selection")
    text = printed(page, tmp_path)
    assert [int(n) for n in re.findall(r"\bmessage (\d+)\b", text)] == list(range(11, 71))
    assert len(re.findall(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC\+08:00 · 1\d{12}", text)) >= 60
    assert "Times in Asia/Shanghai (UTC+08:00)" in on_one_line(text)
    assert "Older messages, if there are any, are not printed here." in on_one_line(text)
    assert "Printed on 20" in on_one_line(text)
    assert page.url.split("#", maxsplit=1)[0] in on_one_line(text).replace(" ", "")
    for control in ("Review recall", "All from sender", "Filter what is loaded", "Go to a date", "Selection"):
        assert control not in text
    page.locator("#filter").fill("")
    load_older(page, talk.timestamps[0])
    text = printed(page, tmp_path)
    assert [int(n) for n in re.findall(r"\bmessage (\d+)\b", text)] == list(range(1, 71))
    # Nor that of the row that has the focus.
    assert "All from sender" not in text
    page.emulate_media(media="print")
    ink = page.locator(".message .text").first.evaluate("(text) => getComputedStyle(text).color")
    assert ink == "rgb(27, 30, 34)"


def test_a_long_message_is_printed_whole(console: Console, open_browser: OpenBrowser, tmp_path: Path) -> None:
    page = open_browser()
    talk = group_talk(console, 1)
    talk.say("begins " + "word " * 300 + "ends")
    open_talk(page, talk)
    text = on_one_line(printed(page, tmp_path))
    assert text.count("word") == 300
    assert text.count("begins") == text.count("ends") == 1
    # And it is folded up again afterwards.
    page.emulate_media(media="screen")
    expect(page.locator("details.long[open]")).to_have_count(0)


def test_a_recall_is_printed_as_a_record(console: Console, open_browser: OpenBrowser, tmp_path: Path) -> None:
    page = open_browser()
    talk = group_talk(console, 2)
    open_talk(page, talk)
    is_ready(page, talk)
    tick(page, *talk.timestamps)
    review(page)
    confirm(page)
    wait_until(page, "accepted")
    expect(page.locator(".verified .pill.gone")).to_be_visible(timeout=30_000)
    evidence = console.run(
        "from recall.models import Evidence\n"
        f"for each in Evidence.objects.filter(item__timestamp__in={talk.timestamps!r}): print(each.sha256)"
    ).split()
    assert len(evidence) == 2
    text = on_one_line(printed(page, tmp_path))
    unspaced = text.replace(" ", "")
    for sha256 in evidence:
        assert sha256 in unspaced
    for timestamp in talk.timestamps:
        assert str(timestamp) in text
    for part in ("mo", "Spam", "message 1", "message 2", "200", "OK", "UTC+08:00 (UTC 20", "Printed on 20", "Sent 20"):
        assert part in text
    assert text.count('"payload"') == 2
    assert page.url.rsplit("/", 2)[1] in unspaced
    assert page.url in unspaced
    assert "verified as removed" in text
