"""The report of a smoke run, opened and read; REPORT_FOLDER names where it lies (make test)."""

import base64
import copy
import json
import os
import re
from pathlib import Path

import paper
import pytest
import report_fixture as fixture
from bs4 import BeautifulSoup
from pypdf import PdfReader

from helpers.paths import ROOT
from workflow.publish import recorded
from workflow.report.document import picture_size

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


@pytest.mark.fault(78)
def test_the_page_has_the_figures_whole_and_each_with_caption_and_alt_text(page):
    numbers, images = [], page.select("figure img")
    for image in images:
        assert len(image["alt"].split()) >= 3, image["alt"]
        mime, content = image["src"].removeprefix("data:").split(";base64,")
        size = picture_size(mime, base64.b64decode(content))
        assert tuple(map(str, size)) == (image["width"], image["height"])
        caption = image.find_parent("figure").figcaption.get_text()
        numbers.append(re.match(r"\s*Figure\s(S?\d+)\.", caption)[1])
    others = [f"S{n}" for n in range(1, len(numbers) - 5)]
    assert sorted(numbers) == sorted([*"123456", *others])


@pytest.mark.fault(65, 84)
def test_the_page_asks_for_nothing_from_anywhere_and_its_links_lead_somewhere(page):
    runs = [recorded(notebook) for notebook in sorted(FOLDER.glob("0*.ipynb"))]
    names = [f"weights_{run['parameters']['epochs']}.safetensors" for run in runs]
    paths = [ROOT / run["folder"] / name for run, name in zip(runs, names, strict=True)]
    assert [run["weights"][path.name] for run, path in zip(runs, paths, strict=True)] == [
        aside["data-sha256"] for aside in page("aside")
    ]
    assert (FOLDER / "report.html").stat().st_size < 8e6
    page = copy.copy(page)
    fixture.assert_lives(page, paths)
    fixture.assert_inert(page)
    fixture.assert_linked(page)


@pytest.mark.fault(81)
def test_the_numbers_of_the_abstract_are_those_of_the_scores(page):
    """Every decimal is a value, floor, ceiling or class share, rounded as it is printed."""
    known = []
    for notebook in sorted(FOLDER.glob("0*.ipynb")):
        path = ROOT / recorded(notebook)["folder"] / "scores.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        known += [100 * share for share in result["class_shares"] + result["real_shares"]]
        for score in result["scores"].values():
            known += [score[name] for name in ("value", "floor", "ceiling", "std")]
    compared = (FOLDER / "comparison.ipynb").read_text(encoding="utf-8")
    known += [float(cell.replace(",", "")) for cell in re.findall(r'"([\d,]+\.\d+) ±', compared)]
    assert len(known) > 50
    abstract = page.find("section", class_="abstract").get_text(" ")
    printed = re.findall(r"(?<![\d.,])[\d,]*\d\.\d+(?!\.?\d)", abstract)
    assert len(printed) >= 6
    for number in printed:
        digits = len(number.partition(".")[2])
        rounded = {f"{abs(value):,.{digits}f}" for value in known if value is not None}
        assert number in rounded, f"{number} in the abstract is no score of these runs"


def test_no_page_has_a_hole_and_nothing_runs_into_the_margin(pdf):
    """White of at most a tenth of the page in one piece, but at the end of the document."""
    drawn = paper.sheets((FOLDER / "report.pdf").read_bytes(), len(pdf.pages))
    gaps = {number: paper.gap(ink) for number, ink in enumerate(drawn[:-1], 1)}
    assert {number: gap for number, gap in gaps.items() if gap > 0.1} == {}
    assert [number for number, ink in enumerate(drawn, 1) if paper.overflows(ink)] == []


def test_every_color_of_text_can_be_read_in_both_schemes(page):
    words = ["text", "soft", "link", "accent"]
    code = ["keyword", "string", "number", "comment", "name", "text", "soft"]
    pairs = [(w, "paper") for w in words] + [(c, "panel") for c in code] + [("text", "notice")]
    for colors in paper.schemes(page.style.text):
        contrasts = {pair: paper.contrast(*(colors[name] for name in pair)) for pair in pairs}
        assert {pair: value for pair, value in contrasts.items() if value < 4.5} == {}


@pytest.mark.fault(74)
def test_nothing_is_lost_on_paper(page, pdf, text):
    """The contents are on the first page and call every part as its title does."""
    front = " ".join(pdf.pages[0].extract_text().split())
    titles = [" ".join(title.text.split()) for title in page.find_all("h2")]
    assert len(titles) >= 6 and [title for title in titles if title not in front] == []
    for number in range(1, 7):
        assert re.search(rf"Figure {number}\b", text)
    assert "\u25a1" not in text  # what stands where no font has the sign
    for words in (text, page.get_text(" ")):
        assert "smoke" in words.lower() and "Traceback" not in words
        assert re.findall(r"/(?:home|root|Users|tmp|private|work)/\S*", words) == []
