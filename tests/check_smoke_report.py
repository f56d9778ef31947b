"""The report of a smoke run, opened and read; REPORT_FOLDER names where it lies (make test)."""

import base64
import os
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

FOLDER = Path(os.environ.get("REPORT_FOLDER", "build/smoke-test"))
# What a browser would load by itself; links that a reader follows are something else.
LOADS = {"src", "srcset", "poster", "data", "background", "xlink:href"}


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
    numbers = set()
    for figure in page.find_all("figure"):
        image = figure.find("img")
        if image is None:
            continue
        assert len(image.get("alt", "").split()) >= 3, figure.get_text()[:80]
        assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))[1:4] == b"PNG"
        if found := re.match(r"\s*Figure (\d+)", figure.find("figcaption").get_text()):
            numbers.add(int(found[1]))
    assert numbers >= {1, 2, 3, 4, 5, 6}
    assert numbers == set(range(1, max(numbers) + 1))


def test_the_page_asks_for_nothing_from_anywhere(page):
    assert page.find_all(["script", "iframe", "object", "embed", "base"]) == []
    for tag in page.find_all(True):
        for name, value in tag.attrs.items():
            assert not name.startswith("on"), tag
            if name in LOADS:
                assert value.startswith(("data:", "#")), str(tag)[:200]
            if name == "href" and tag.name != "a":
                assert value.startswith(("data:", "#")), str(tag)[:200]
            if name in ("href", "action", "formaction"):
                assert not value.strip().lower().startswith(("javascript:", "file:")), tag
    style = " ".join(sheet.get_text() for sheet in page.find_all("style"))
    style += " ".join(tag["style"] for tag in page.find_all(style=True))
    assert not re.search(r"@import|url\((?!['\"]?data:)", style)


def test_every_inner_link_leads_somewhere(page):
    names = [tag["id"] for tag in page.find_all(id=True)]
    assert [name for name in set(names) if names.count(name) > 1] == []
    links = {link["href"][1:] for link in page.find_all("a", href=re.compile("^#."))}
    assert links - set(names) == set()


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
