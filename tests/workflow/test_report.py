"""The report: what the two files hold, what is inert in them, and what stops the build."""

import base64
import copy
import io
import json
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import report_fixture as fixture
from bs4 import BeautifulSoup
from pypdf import PdfReader

from workflow.report import build
from workflow.report.check import ReportError, picture_size
from workflow.report.exporters import HTMLExporter, PDFExporter, compile_typst, html
from workflow.report.merge import merge

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> [go](javascript:alert(3)) ${x}$ #{}"


def make(folder, notebooks=None, *options):
    """(exit code, HTML soup or None, PDF bytes or None) of a build in `folder`."""
    paths = fixture.write(folder / "in", notebooks)
    code = build.main([*map(str, paths), "--out", str(folder / "out"), *options])
    html, pdf = folder / "out" / "report.html", folder / "out" / "report.pdf"
    soup = BeautifulSoup(html.read_bytes(), "html.parser") if html.exists() else None
    return code, soup, pdf.read_bytes() if pdf.exists() else None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The two files of three faultless notebooks, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    assert make(folder, None, "--author", "Ada Lovelace")[0] == 0
    return tuple((folder / "out" / name).read_bytes() for name in ("report.html", "report.pdf"))


@pytest.fixture
def page(whole):
    return BeautifulSoup(whole[0], "html.parser")


def pdf_text(pdf):
    text = "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    return " ".join(text.replace("\u2060", "").split())


@pytest.mark.fault(65, 78)
def test_html_has_every_figure_table_and_link(page):
    fixture.assert_inert(page)
    assert page.html["lang"] == "en" and page.h1.text.startswith("Three")
    for number in range(1, 7):
        figure = page.find("figure", id=f"figure-{number}")
        assert figure.img["alt"] == f"A row of gray images, figure-{number}"
        assert figure.img["width"] == "320"
        assert figure.figcaption.strong.text == f"Figure\xa0{number}."
    drawn, other = (page.find("figure", id=f"figure-s{n}") for n in (1, 2))
    assert drawn.img["src"].startswith("data:image/svg+xml;base64,")
    assert (drawn.img["width"], drawn.img["height"]) == ("432", "180")
    assert other.figcaption.strong.text == "Figure\xa0S2."
    table = page.find("table", id="table-2")
    assert table.caption.text.startswith("Table\xa02. The layers")
    assert len(table.select("thead th")) == 4 and len(table.select("tbody th")) == 3
    styles = [td.get("style") for td in table.select("tbody tr")[2].select("td")]
    assert styles == ["text-align: left;", "text-align: right;", "text-align: right;"]
    assert "FROM PANDAS" not in page.text
    fixture.assert_linked(page)
    headings = [h.text for h in page.find_all(["h2", "h3"])]
    assert headings[:2] == ["1 Datasets", "1.1 MNIST"]
    assert "2.1 Mathematics of every kind" in headings
    assert "Appendix A Parameters and provenance" in headings
    contents = page.find("nav").text
    assert all(h.split(" ", 1)[1] in contents for h in headings if h[0].isdigit())


def test_cross_references_and_citations(page):
    first = page.find("h2", id="section-2").find_next("p")
    links = {a.text.replace("\xa0", " "): a["href"] for a in first.find_all("a")}
    assert links["Figure 1"] == "#figure-1" and links["the next"] == "#figure-2"
    assert links["Figure S1"] == "#figure-s1"  # the losses of this notebook
    assert links["Section 3"] == "#section-3" and links["Figure 3"] == "#figure-3"
    assert links["Section 1"] == "#section-1"  # the report's own
    assert links["[3]"] == "#ref-kingma2014vae"
    assert first.code.text == "Figure 99" and "Figure 99 a word" in first.text
    assert len(links) == 10  # the rest are the papers and their numbers
    second = page.find("h2", id="section-3").find_next("p")
    links = {a.text.replace("\xa0", " "): a["href"] for a in second.find_all("a")}
    assert links["Figure S2"] == "#figure-s2" and links["Section 2.1"] == "#section-2-1"
    assert page.find("section", class_="abstract").a.text == "Appendix\xa0A"
    third = page.find("h2", id="section-4").find_next("p")
    assert "Section\xa04.1" in third.text  # a heading of the same words elsewhere is another
    references = page.select(".references .csl-entry")
    assert references[2].text.strip().startswith("[3] D. P. Kingma and M. Welling. Auto-encoding")
    assert "arXiv:1312.6114" in references[2].text
    assert "the first\xa0[3]" in second.text and "[5]" in second.text
    assert len(references) == 5  # the papers that are cited, no others


def test_colors_have_contrast(page):
    """WCAG AA, 4.5 to 1, for every color of text on page and panel, in both modes."""
    light, dark = re.findall(r":root \{(.*?)\}", page.style.text, re.S)[:2]
    for palette in (light, dark):
        colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", palette))
        for name in ("text", "soft", "link", "accent", "keyword", "string", "number", "comment"):
            for ground in ("paper", "panel"):
                assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
        assert contrast(colors["text"], colors["notice"]) >= 7


def contrast(one, other):
    def luminance(color):
        levels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_notebook_parts_are_where_they_belong(page):
    abstract = page.find("section", class_="abstract").text
    assert "reached an FID of 24.5" in abstract
    main = page.find("main").text
    assert main.count("reached an FID of 24.5") == 1  # not again in the body
    assert "secret" not in main  # tag remove-cell
    assert "Made with torch" not in main  # the appendix has it
    assert "CAPTION" not in main  # the figure prints it
    labels = [s.text for s in page.select("details.code summary")]
    assert labels.count("Parameters of this run") == 3
    assert labels.count("Draw the samples") == 3 and "Code" in labels
    listings = page.select("div.listing")
    assert [d.p.text for d in listings] == ["helpers/gan.py: Generator"] * 3
    assert all("class Generator" in d.pre.text for d in listings)
    shown = [pre for pre in page.select("pre.python") if not pre.find_parent("details")]
    assert sum("train(config, seed=0)" in pre.text for pre in shown) == 3
    appendix = page.find("h2", id="section-a").find_all_next("table")
    rows = {
        row.th.text: [td.text for td in row.find_all("td")]
        for row in appendix[0].select("tbody tr")
    }
    assert list(rows)[0] == "dataset"
    assert rows["learning_rate"] == ["0.0002"] * 3
    assert rows["snapshot_epochs"] == ["[16, 22, 34]"] * 3
    assert "5 min 12 s" in appendix[1].text and "abc1234" in appendix[1].text
    assert len(appendix[2].select("tbody tr")) == 8


def test_a_parameter_that_a_notebook_lacks_leaves_its_cell_empty(tmp_path):
    notebooks = fixture.three()
    del metadata(notebooks["02_gan.ipynb"], 9)["manifest"]["parameters"]["snapshot_epochs"]
    items, _, _ = merge(build.read_all(fixture.write(tmp_path, notebooks)))
    [parameters] = [item for item in items if item.get("label") == "table-parameters"]
    row = parameters["rows"][-1]  # after the parameters of all notebooks
    assert row == ["`snapshot_epochs`", "`[16, 22, 34]`", "", "`[16, 22, 34]`"]


def test_minus_signs_and_arrows_in_tables(tmp_path):
    notebooks = fixture.three()
    report = metadata(notebooks["01_vae.ipynb"], 6)
    report["columns"] = ["-ELBO", "score", "code", "better"]
    report["rows"] = [["-KL", "-1.5 ± 0.2", "`-1`", "↑"], ["1e-5", "2-3", "-", "≈"]]
    _, soup, pdf = make(tmp_path, notebooks)
    table = soup.find("table", id="table-2")
    rows = [[c.text for c in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    assert rows[0][0] == "−ELBO" and rows[1] == ["−KL", "−1.5 ± 0.2", "-1", "↑"]
    assert rows[2] == ["1e-5", "2-3", "-", "≈"]
    assert [td["style"] for td in table.find_all("td")[2::3]] == ["text-align: center;"] * 2
    assert "−1.5" in pdf_text(pdf) and "−ELBO" in pdf_text(pdf)


@pytest.mark.parametrize("space, order", [(5, ["FIGURE", "AFTER"]), (18, ["AFTER", "FIGURE"])])
def test_a_high_figure_stands_in_its_place_or_floats_within_its_section(space, order):
    source = f"""#import "report.typ": *
#show: report.with(title: "T", single: true)
#v({space}cm)
#picture("p.png", 3.8in, alt: "A", floats: true, caption: [FIGURE], id: "f")
AFTER
#place.flush()
#heading(level: 1, numbering: none)[NEXT]
#link(<f>)[back]"""
    pdf = compile_typst(source, {"p.png": fixture.png(300, 300)})
    assert re.findall("FIGURE|AFTER|NEXT", pdf_text(pdf)) == [*order, "NEXT"]


def test_mathematics_is_mathml_and_nothing_is_lost(page):
    assert len(page.find_all("math", display="block")) == 3
    annotations = [a.text for a in page.find_all("annotation")]
    assert any(r"\begin{cases}" in a for a in annotations)
    assert r"\lVert x - \hat{x}\rVert ^2" in annotations
    for math in page.find_all(["math", "pre", "code"]):
        math.extract()
    assert "\\" not in page.main.text and "$$" not in page.main.text
    assert {span.text for span in page.find_all("span", class_="together")} == {",", "."}


def test_pdf_is_tagged_titled_and_complete(whole):
    _, pdf = whole
    reader = PdfReader(io.BytesIO(pdf))
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"].startswith("en")
    assert reader.metadata.title == "Three Generative Models of Small Images"
    assert reader.metadata.author == "Ada Lovelace"
    assert 8 <= len(reader.pages) <= 20
    text = pdf_text(pdf)
    for part in ("Figure 6. ", "Table 3. ", "References", "arXiv:1312.6114", "Section 2", "24/24"):
        assert part in text, part
    assert "helpers/gan.py: Generator" in text and "class Generator" in text
    assert "run.figure" not in text  # tag hide-input
    assert "secret" not in text


@pytest.mark.fault(80)
def test_same_bytes_again(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "elsewhere é", None, "--author", "Ada Lovelace")
    out = tmp_path / "elsewhere é" / "out"
    assert (out / "report.pdf").read_bytes() == whole[1]
    assert (out / "report.html").read_bytes() == whole[0]


@pytest.mark.fault(84, 85, 89, 92)
def test_hostile_text_is_inert(tmp_path):
    trace = tmp_path / "trace"
    notebooks = fixture.three()
    nb = notebooks["03_cgan.ipynb"]
    links = "<div onclick='x()'>\n\n[a](data:text/html,x) [b](file:///etc/passwd)"
    nb.cells[0].source = f"# Title {EVIL}\n\n{EVIL}\n\n{links}"
    nb.cells[4].source = f"print('{EVIL}')  # </code></pre></details>"
    nb.cells[4].outputs[0].text = f'\x1b[31m{EVIL}\x1b[0m \x07 "] #panic() 漢'
    nb.cells[4].outputs.append(fixture.display({"text/html": EVIL, "text/plain": EVIL}))
    nb.cells[4].outputs.append(fixture.display({"application/javascript": "alert(4)"}))
    shown = nb.cells[5].outputs[0].metadata["report"]
    shown |= {"caption": EVIL, "alt": EVIL + '"><b onload="x()">'}
    nb.cells[6].outputs[0].metadata["report"]["rows"][0] = [EVIL, "- a", "# b", '"] #panic()']
    manifest = nb.cells[9].outputs[0].metadata["report"]["manifest"]
    manifest["parameters"] = {EVIL: EVIL, "`tick`": "a ` b", "empty": ""}
    manifest["data"] |= {"where": EVIL, "name": "MNIST *x* " + EVIL, "real": False}
    manifest["device"] = EVIL
    nb.cells.append(fixture.v4.new_raw_cell(EVIL))
    nb.cells[8].source = f"open({str(trace)!r}, 'w')"  # notebooks are read, never run
    author = f"Ada\nLovelace, 漢 \u202e {EVIL}"
    code, soup, pdf = make(
        tmp_path, notebooks, "--author", author, "--profile", EVIL, "--title", EVIL, "--date", EVIL
    )
    assert code == 0 and not trace.exists()
    fixture.assert_inert(soup)
    assert "\x1b" not in str(soup) and "\x07" not in str(soup)
    assert "<script>alert(1)</script>" in soup.find("p", class_="author").text
    assert "\u202e" not in soup.text
    assert soup.find(id="figure-6").img["alt"].startswith("<script>")
    assert "alert(4)" not in str(soup)
    cells = [c.text for c in soup.find(id="table-5").select("tbody tr")[0].find_all(["th", "td"])]
    assert cells[1:] == ["- a", "# b", "“] #panic()"]
    assert "□" in pdf_text(pdf)  # no font has the Chinese sign; the PDF is made all the same
    assert "built-in stand-in images" in PdfReader(io.BytesIO(pdf)).pages[0].extract_text()


@pytest.mark.fault(84)
def test_hostile_file_names_are_inert(tmp_path):
    """A name may hold what ends a line for Typst, or is no text at all."""
    evil = "<img src=x onerror=alert(1)>\u2028#panic(1)\n#panic(2)\r#panic(3)\u202e"
    notebooks = fixture.three()
    notebooks[evil + ".ipynb"] = notebooks.pop("02_gan.ipynb")
    notebooks["\udcff$x$.ipynb"] = notebooks.pop("03_cgan.ipynb")
    code, soup, pdf = make(tmp_path / "a <b> é", notebooks)
    assert code == 0 and pdf
    fixture.assert_inert(soup)


@pytest.mark.fault(89)
def test_a_hostile_message_is_one_plain_line(tmp_path, capsys):
    notebooks = fixture.three()
    value = "a \x1b[2J\x1b]0;title\x07\u202e b"
    error = fixture.v4.new_output("error", ename="E\x1b[31m", evalue=value, traceback=[])
    notebooks["03_cgan.ipynb"].cells[8].outputs.append(error)
    notebooks["\x1b[2Ja\nb.ipynb"] = "{ no"
    assert make(tmp_path, notebooks)[0] == 1
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 4  # one for each fault, what became of the report, the end
    assert all(line.isprintable() for line in lines)
    assert "03_cgan.ipynb: cell 9 failed: E: a " in lines[0] and "a b.ipynb: broken" in lines[1]


PLACED = ("![p](p.png)", "![p](../in/p.png)", "![p](<a b/p.png>)")
STRAY = ("![p](../p.png)", "![p](link.png)", "![p](%2e%2e/p.png)", "![p](OUTSIDE/p.png)")


@pytest.mark.fault(86)
def test_a_picture_from_elsewhere_is_not_carried_away(tmp_path, monkeypatch, capsys):
    """Only files beside the notebook or in the project, wherever the build was started."""
    monkeypatch.chdir("/")
    inside = tmp_path / "in"
    (inside / "a b").mkdir(parents=True)
    for folder in (tmp_path, inside, inside / "a b"):
        (folder / "p.png").write_bytes(fixture.png(20, 10))
    (inside / "link.png").symlink_to(tmp_path / "p.png")
    notebooks = fixture.three()
    cell = notebooks["02_gan.ipynb"].cells[3]
    cell.source = " ".join(STRAY).replace("OUTSIDE", str(tmp_path))
    code, soup, _ = make(tmp_path, notebooks)
    lines = capsys.readouterr().err.splitlines()
    assert code == 1 and not soup and len(lines) == len(STRAY) + 1
    assert all(line.startswith("02_gan, cell 4: the picture ") for line in lines[:-1])
    cell.source = " ".join(PLACED)
    code, soup, _ = make(tmp_path, notebooks)
    assert code == 0 and len(soup.find_all("img", width="20", alt="p")) == len(PLACED)


def places(tree, path=()):
    """The paths of everything in a JSON tree."""
    if path:
        yield path
    if isinstance(tree, dict | list):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in pairs:
            yield from places(value, (*path, key))


@pytest.mark.fault(77)
def test_any_value_anywhere_is_taken_or_refused(tmp_path):
    """A notebook with one value replaced, each in turn: merged, or refused naming the file."""
    paths = fixture.write(tmp_path)
    whole = json.loads(paths[1].read_text())
    values = [None, True, -1, "x", [], {}, [1], {"a": 1}, 10**400]
    taken = 0
    for turn, place in enumerate(places(whole)):
        changed = copy.deepcopy(whole)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = values[turn % len(values)]
        paths[1].write_text(json.dumps(changed))
        try:
            merge(build.read_all(paths))
            taken += 1
        except ReportError as error:
            assert all(str(paths[1]) in line for line in error.problems), (place, error)
    assert 0 < taken < turn


def test_notices_for_smoke_runs_and_stand_in_data(tmp_path):
    notebooks = fixture.three()
    for nb in notebooks.values():
        data = nb.cells[9].outputs[0].metadata["report"]["manifest"]["data"]
        data |= {"real": False, "verified": False, "source": "sample"}
    report = merge(build.read_all(fixture.write(tmp_path, notebooks)), "smoke")
    soup = BeautifulSoup(html(*report), "html.parser")
    notices = [p.text for p in soup.select("header .notice")]
    assert notices[0].startswith("SMOKE RUN")
    assert "not from Fashion-MNIST or MNIST" in notices[1]
    assert "The stand-in" in soup.nav.text and "1.2" not in soup.nav.text


def metadata(nb, cell, output=0):
    return nb.cells[cell].outputs[output].metadata["report"]


def half_run(nb, last=7):
    """sys.exit(0), too, is no error to papermill, and nothing after it was run."""
    for cell in nb.cells[6:last]:
        cell.execution_count, cell.outputs = None, []


def no_picture(nb):
    """Figure 6 is displayed nowhere, and the record of the run does not have it either."""
    del nb.cells[5].outputs[0]
    metadata(nb, 9)["manifest"]["figures"].clear()


def failed(nb):
    error = fixture.v4.new_output("error", ename="ValueError", evalue="boom\nmore", traceback=[])
    nb.cells[5].outputs = [error]
    nb.metadata["papermill"]["exception"] = True


def says(cell, **changes):
    """Other metadata of the first display of a cell."""
    return lambda nb: metadata(nb, cell).update(changes)


def shows(content):
    """Another picture in the place of the first."""
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return lambda nb: nb.cells[5].outputs[0].data.update({"image/png": text})


def prose(markdown, attachments=None):
    """Another text in cell 4."""
    return lambda nb: nb.cells[3].update(source=markdown, attachments=attachments or {})


def sentence(markdown):
    """Another text among the outputs of cell 9."""
    return lambda nb: nb.cells[8].outputs[0].data.update({"text/markdown": markdown})


def other_data(nb):
    metadata(nb, 9)["manifest"]["data"]["sha256"].update({"test-images": "0"})


def other_revision(nb):
    metadata(nb, 9)["manifest"]["git"] = {"revision": "fff9999", "clean": True}


TWICE = [fixture.figure("figure-6")]
ATTACHED = {"a.png": {"image/png": "abc"}}
REFUSALS = [  # notebook, change to it (or other bytes), the first line of the answer
    ("02_gan", "{ no", "02_gan.ipynb: broken JSON"),
    ("02_gan", '{"cells": [NaN]}', "02_gan.ipynb: broken JSON: NaN is no number"),
    ("02_gan", "[" * 10**5, "02_gan.ipynb: broken JSON"),
    ("02_gan", "9" * 10**4, "02_gan.ipynb: broken JSON"),
    ("02_gan", "[1]", "02_gan.ipynb: not a notebook"),
    ("02_gan", '{"nbformat": "x", "cells": 7}', "02_gan.ipynb: not a notebook"),
    (
        "02_gan",
        lambda nb: nb.cells[5].outputs[0].metadata.update(report="<b>"),
        "02_gan.ipynb: cell 6 outputs 1 metadata report: '<b>' is not of type 'object'",
    ),
    ("02_gan", failed, "02_gan.ipynb: cell 6 failed: ValueError: boom"),
    (
        "02_gan",
        lambda nb: nb.metadata["papermill"].update(exception=True),
        "02_gan.ipynb: the run ended with an exception",
    ),
    ("02_gan", lambda nb: half_run(nb, 99), "02_gan.ipynb: cell 7 was never run"),
    ("03_cgan", half_run, "03_cgan.ipynb: cell 7 was never run"),
    (
        "03_cgan",
        lambda nb: nb.cells[9].metadata.papermill.update(status="pending"),
        "03_cgan.ipynb: cell 10 is pending",
    ),
    (
        "01_vae",
        lambda nb: nb.cells[6].update(execution_count=2),
        "01_vae.ipynb: cell 7 was run out of order",
    ),
    ("03_cgan", says(5, label="other"), "figure figure-6 is in the provenance record but not in"),
    ("03_cgan", no_picture, "03_cgan.ipynb: figure-6 is missing"),
    (
        "03_cgan",
        lambda nb: nb.cells[6].outputs.extend(TWICE),
        "03_cgan.ipynb: cell 7: the label figure-6 is there twice",
    ),
    (
        "02_gan",
        lambda nb: nb.cells[6].outputs.extend(TWICE),
        "03_cgan.ipynb: figure-6 appears twice",
    ),
    ("03_cgan", says(6, label="figure-6"), "cell 7: the label figure-6 is there twice"),
    ("02_gan", prose("## layers"), "02_gan, cell 7: the label layers is there twice"),
    ("01_vae", says(6, label="Layers\n"), "01_vae.ipynb: cell 7: table Layers : label: 'Layers"),
    ("01_vae", says(6, kind=["table"]), "cell 7 outputs 1 metadata report kind: ['table'] is not"),
    ("01_vae", shows(fixture.png(8, 8)), "figure figure-1 is not the picture that was drawn"),
    (
        "02_gan",
        lambda nb: metadata(nb, 9).manifest.figures.update({"figure-4": "0"}),
        "02_gan.ipynb: figure figure-4 is stale",
    ),
    ("01_vae", shows(""), "01_vae.ipynb: cell 6: figure figure-1: 0 bytes"),
    ("01_vae", shows("SGVsbG8h"), "cell 6: figure figure-1: not a PNG, starts 48656c6c"),
    ("01_vae", shows(fixture.png()[:99]), "cell 6: figure figure-1: PNG cut short after 99 bytes"),
    ("01_vae", says(5, alt=" "), "01_vae.ipynb: cell 6: figure figure-1: alt: ' ' does not match"),
    ("01_vae", says(6, caption=""), "01_vae.ipynb: cell 7: table layers: caption: ''"),
    (
        "01_vae",
        lambda nb: nb.cells[5].outputs[0].metadata.pop("report"),
        "01_vae.ipynb: cell 6: a picture without label",
    ),
    (
        "01_vae",
        lambda nb: metadata(nb, 6)["rows"][1].pop(),
        "cell 7: table layers, row 2 has 3 cells for 4 columns",
    ),
    ("01_vae", lambda nb: nb.cells[9].outputs.clear(), "01_vae.ipynb: no provenance records"),
    ("02_gan", other_data, "both say MNIST but read different images"),
    ("02_gan", prose("[Figure](#kept)"), "02_gan, cell 4: the link #kept leads nowhere"),
    ("02_gan", prose("[Table](01_vae.ipynb#t)"), "cell 4: the link 01_vae.ipynb#t leads nowhere"),
    ("02_gan", prose("[Section](09.ipynb)"), "02_gan, cell 4: the link 09.ipynb leads nowhere"),
    ("02_gan", prose("[Figure](#layers)"), "the link #layers says Figure and leads to a table"),
    ("02_gan", prose("## A\n\n## A\n\n[Section](#A)"), "the link #A leads to two places"),
    ("02_gan", sentence("[Table](#t44)"), "02_gan, cell 9: the link #t44 leads nowhere"),
    ("02_gan", prose("![a plot](p.png)"), "02_gan, cell 4: the picture p.png is not there"),
    (
        "02_gan",
        sentence("![p][1]\n\n[1]: a%20b.png"),
        "cell 9: the picture a%20b.png is not there",
    ),
    ("02_gan", prose("![a plot](a%00b.png)"), "cell 4: the picture a%00b.png is not there"),
    ("02_gan", prose(f"![a plot]({'a' * 999}.png)"), "02_gan, cell 4: the picture aaa"),
    ("02_gan", prose("![a](attachment:a.png)", ATTACHED), "picture attachment:a.png: 0 bytes"),
    ("02_gan", prose("[see](notes/x.md)"), "02_gan, cell 4: the link notes/x.md is not there"),
    (
        "02_gan",
        prose(r"So $\nosuch{x}$."),
        r"cell 4: mathematics that pandoc cannot read: \nosuch{x}",
    ),
    ("02_gan", prose("#### Deep"), "02_gan, cell 4: the heading “Deep” skips a level"),
]


@pytest.mark.fault(75, 76, 77, 78, 82, 113)
@pytest.mark.parametrize("name, change, expected", REFUSALS, ids=[line for *_, line in REFUSALS])
def test_refusals_name_the_fault_and_keep_the_old_report(name, change, expected, tmp_path, capsys):
    notebooks = fixture.three()
    if isinstance(change, str):
        notebooks[f"{name}.ipynb"] = change
    else:
        change(notebooks[f"{name}.ipynb"])
    out = tmp_path / "out"
    out.mkdir()
    for name in ("report.html", "report.pdf"):
        (out / name).write_text("yesterday's")
    code, _, _ = make(tmp_path, notebooks)
    lines = capsys.readouterr().err.splitlines()
    assert code == 1
    where = f"{tmp_path / 'in'}/" if lines[0].startswith("/") else ""  # no path: notebook and cell
    assert lines[0].startswith(where) and expected in lines[0], lines
    assert not any("Traceback" in line for line in lines)
    assert lines[-1] == f"{out}: no report written, what was there is unchanged"
    assert {p.name: p.read_text() for p in out.iterdir()} == {
        "report.html": "yesterday's",
        "report.pdf": "yesterday's",
    }


@pytest.mark.fault(76)
def test_missing_notebook_and_every_fault_at_once(tmp_path, capsys):
    notebooks = fixture.three()
    half_run(notebooks["01_vae.ipynb"])
    paths = fixture.write(tmp_path, notebooks)
    paths[2].unlink()
    assert build.main([*map(str, paths), "--out", str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{paths[0]}: cell 7 was never run"
    assert lines[1] == f"{paths[2]}: no such file or directory"
    assert not (tmp_path / "out").exists()


def test_different_revisions_are_named_and_other_data_is_on_request(tmp_path):
    notebooks = fixture.three()
    other_revision(notebooks["02_gan.ipynb"])
    metadata(notebooks["03_cgan.ipynb"], 9)["manifest"]["data"]["sha256"]["test-images"] = "0"
    paths = fixture.write(tmp_path, notebooks)
    with pytest.raises(ReportError, match="both say MNIST but read different images"):
        build.read_all(paths)
    _, front, _ = merge(build.read_all(paths, allow_mixed=True))
    assert "Revisions abc1234 and fff9999" in front["facts"]


@pytest.mark.fault(79)
def test_without_typst_the_html_is_written_and_the_exit_code_says_so(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "typst", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.pdf").write_bytes(b"old")
    code, soup, pdf = make(tmp_path)
    assert code == 2
    assert soup.find(id="figure-6") and pdf == b"old"
    assert "report.pdf: not written; the report.pdf there is from an earlier run" in (
        capsys.readouterr().err
    )


@pytest.mark.fault(79)
def test_without_pandoc_nothing_is_written(tmp_path, monkeypatch, capsys):
    def absent():
        raise OSError("No pandoc was found")

    monkeypatch.setattr("pypandoc.get_pandoc_path", absent)
    code, soup, pdf = make(tmp_path)
    assert code == 1 and not soup and not pdf
    assert capsys.readouterr().err.startswith("pandoc cannot be run: No pandoc was found\n")


@pytest.mark.fault(82)
def test_a_full_disk_keeps_the_old_report(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    before = {out / name: name.encode() for name in ("report.html", "report.pdf", "other")}
    for path, content in before.items():
        path.write_bytes(content)

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    command = [
        sys.executable,
        "-m",
        "workflow.report.build",
        *map(str, fixture.write(tmp_path / "in")),
    ]
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, preexec_fn=small
    )
    assert done.returncode == 1
    assert done.stderr == f"{out / 'report.html'}: File too large\n"
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_typst_error_names_notebook_and_cell():
    source = "= A\n// at: 02_gan, cell 5\nfine\n#nothing\n// at: 02_gan, cell 6\n"
    with pytest.raises(ReportError, match="^02_gan, cell 5: Typst: unknown variable: nothing$"):
        compile_typst(source, {})


@pytest.mark.parametrize("exporter", [HTMLExporter, PDFExporter])
def test_one_notebook_through_nbconvert(exporter, tmp_path):
    path = fixture.write(tmp_path)[1]  # its text mentions figures of the other notebooks
    output, resources = exporter().from_filename(str(path))
    if exporter is PDFExporter:
        text = pdf_text(output)
        assert text.startswith("A generative adversarial network") and "Figure 5." in text
    else:
        soup = BeautifulSoup(output, "html.parser")
        fixture.assert_inert(soup)
        assert soup.h1.text == "A generative adversarial network"
        assert soup.find("h2").text == "1 The model" and soup.find(id="figure-5")
        assert "the first\xa0[2]" in soup.text and len(soup.select(".csl-entry")) == 2


def test_report_imports_neither_torch_nor_the_models():
    code = "import sys, workflow.report.build as b; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_bibliography_has_each_address_once():
    text = (Path(build.__file__).parent / "refs.bib").read_text(encoding="utf-8")
    keys, urls = re.findall(r"^@\w+\{(\w+),", text, re.M), re.findall(r"url = \{(.*)\}", text)
    assert len(keys) == len(urls) == len(set(keys)) == len(set(urls)) > 20
    assert all(re.match(r"https://", url) for url in urls)


UNSAFE = {
    "<script>alert(1)</script>": "<script>",
    "<foreignObject><p>x</p></foreignObject>": "<foreignObject>",
    '<path onload="alert(1)"/>': "onload='alert(1)'",
    '<image href="https://example.org/x.png"/>': "href='https://example.org/x.png'",
    '<a xmlns:x="http://www.w3.org/1999/xlink" x:href="javascript:alert(1)"/>': "href='javascript",
    "<style>@import 'https://example.org/x.css'</style>": "style=",
    '<path style="fill: url( &#39;https://example.org/x&#39;)"/>': "style=",
}


@pytest.mark.fault(114)
@pytest.mark.parametrize("part", UNSAFE)
def test_an_svg_that_could_run_or_fetch_is_refused(part):
    with pytest.raises(ValueError, match="^unsafe SVG: " + re.escape(UNSAFE[part])):
        picture_size("image/svg+xml", fixture.SVG.replace("<rect", part + "<rect").encode())


@pytest.mark.fault(114)
def test_an_svg_has_its_size_and_is_whole(tmp_path, capsys):
    inner = '<g style="clip-path: url(#a)"><image href="data:image/png;base64,"/></g>'
    svg = fixture.SVG.replace("<rect", inner + "<rect")
    assert picture_size("image/svg+xml", svg.encode()) == (432, 180)
    bomb = '<!DOCTYPE svg [<!ENTITY a "b">]>' + svg
    for broken in (
        bomb,
        svg[:99],
        svg.replace("viewBox", "box"),
        "<p/>",
        svg.replace("432 ", "nan "),
    ):
        with pytest.raises(ValueError, match="SVG"):
            picture_size("image/svg+xml", broken.encode())
    notebooks = fixture.three()
    data = notebooks["01_vae.ipynb"].cells[5].outputs[4].data
    data["image/svg+xml"] = svg
    assert make(tmp_path, notebooks)[0] == 1
    assert "cell 6: figure losses is not the picture that was drawn" in capsys.readouterr().err


@pytest.mark.fault(115)
@pytest.mark.parametrize("value", ["", "abc", "-1", "1e9", "9" * 20])
def test_a_source_date_that_is_no_number_is_one_line(value, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    code, soup, _ = make(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert code == 1 and not soup and len(lines) == 2
    assert lines[0] == f"SOURCE_DATE_EPOCH must be seconds since 1970, got {value!r}"


@pytest.mark.fault(116)
def test_an_interrupt_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("workflow.report.exporters.compile_typst", interrupted)
    code, soup, pdf = make(tmp_path)
    assert code == 130 and not soup and not pdf
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("out: interrupted, no report written, what was there is unchanged")


@pytest.mark.fault(116)
@pytest.mark.parametrize("redirect", [">&-", "| true", ">&- 2>&-"])
def test_nobody_listens(redirect, tmp_path):
    paths = " ".join(f"'{path}'" for path in fixture.write(tmp_path / "in"))
    command = (
        f"set -o pipefail; {sys.executable} -m workflow.report.build {paths} --out {tmp_path}"
    )
    done = subprocess.run(["bash", "-c", f"{command} {redirect}"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "report.pdf").exists()
