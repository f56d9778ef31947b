"""The report of a smoke run, opened and read; REPORT_FOLDER names where it lies (make test)."""

import base64
import json
import os
import re
from pathlib import Path

import pytest
import report_fixture as fixture
from bs4 import BeautifulSoup
from pypdf import PdfReader

from workflow.report.check import picture_size

FOLDER = Path(os.environ.get("REPORT_FOLDER", "build/smoke-test"))


@pytest.fixture(scope="module")
def page():
    return BeautifulSoup((FOLDER / "report.html").read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def pdf():
    return PdfReader(FOLDER / "report.pdf")


@pytest.fixture(scope="module")
def text(pdf):
    words = " ".join(sheet.extract_text() for sheet in pdf.pages).replace("\u2060", "")
    return " ".join(words.split())


def test_the_page_has_the_six_figures_each_with_caption_and_alt_text(page):
    numbers = {"": [], "S": []}
    for figure in page.find_all("figure"):
        image = figure.find("img")
        if image is None:
            continue
        assert len(image.get("alt", "").split()) >= 3, figure.get_text()[:80]
        if found := re.match(r"\s*Figure\s(S?)(\d+)\.", figure.find("figcaption").get_text()):
            numbers[found[1]].append(int(found[2]))
    assert sorted(numbers[""]) == [1, 2, 3, 4, 5, 6]
    assert numbers["S"] == list(range(1, len(numbers["S"]) + 1))  # in order of appearance


@pytest.mark.fault(65, 84)
def test_the_page_asks_for_nothing_from_anywhere_and_its_links_lead_somewhere(page):
    fixture.assert_inert(page)
    fixture.assert_linked(page)


@pytest.mark.fault(78)
def test_every_picture_is_there_and_whole(page):
    """Found by parsing the page: no image points to a file, and each can be opened."""
    images = page.find_all("img")
    assert len(images) >= 6
    for image in images:
        mime, content = image["src"].removeprefix("data:").split(";base64,")
        size = picture_size(mime, base64.b64decode(content))
        assert tuple(map(str, size)) == (image["width"], image["height"])


@pytest.mark.fault(81)
def test_the_numbers_of_the_abstract_are_those_of_the_scores(page):
    """Every decimal is a value, floor or ceiling of some run, rounded as it is printed."""
    known = []
    for path in sorted(FOLDER.glob("runs/*/scores.json")):
        for score in json.loads(path.read_text(encoding="utf-8"))["scores"].values():
            known += [score[name] for name in ("value", "floor", "ceiling", "std")]
    assert len(known) > 50
    abstract = page.find("section", class_="abstract").get_text(" ")
    printed = re.findall(r"(?<![\d.,])[\d,]*\d\.\d+(?!\.?\d)", abstract)
    assert len(printed) >= 6
    for number in printed:
        digits = len(number.partition(".")[2])
        rounded = {f"{abs(value):,.{digits}f}" for value in known if value is not None}
        assert number in rounded, f"{number} in the abstract is no score of these runs"


@pytest.mark.fault(74)
def test_no_sign_is_without_a_font(text):
    assert "\u25a1" not in text  # what the PDF prints in the place of such a sign


def test_the_page_has_its_parts(page):
    assert page.html.get("lang") and page.title.get_text().strip()
    levels = [int(tag.name[1]) for tag in page.find_all(re.compile(r"^h[1-6]$"))]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert len(page.find_all("math")) > 10 and len(page.find_all("table")) > 3
    assert page.find_all("a", href=re.compile("^https?://"))  # the literature
    words = page.get_text(" ")
    assert "smoke" in words.lower() and "Traceback" not in words
    assert re.findall(r"/(?:home|root|Users|tmp|private|work)/\S*", words) == []


def test_the_pdf_has_pages_text_and_tags(pdf, text):
    assert 10 <= len(pdf.pages) <= 80
    assert pdf.metadata.title and pdf.trailer["/Root"]["/MarkInfo"]["/Marked"]
    for number in range(1, 7):
        assert re.search(rf"Figure {number}\b", text)
    for word in ("variational", "generator", "discriminator", "Fashion", "MNIST"):
        assert word in text


def test_both_say_the_same_of_the_data(page, text):
    words = " ".join(page.get_text(" ").split())
    assert ("not the real set" in words.lower()) == ("not the real set" in text.lower())
