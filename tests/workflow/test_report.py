"""The report: what the two files hold, what is inert in them, and what stops the build."""

import base64
import copy
import io
import json
import re
import subprocess
import sys
from typing import NamedTuple

import pytest
import report_fixture as fixture
from bs4 import BeautifulSoup
from pypdf import PdfReader

from workflow.report import build
from workflow.report.check import ReportError, picture_size
from workflow.report.merge import merge
from workflow.report.typeset import compile_typst, html

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> [go](javascript:alert(3)) ${x}$ #{}"


class Built(NamedTuple):
    """An exit code, and the parsed files if they are there."""

    code: int
    page: BeautifulSoup | None
    reader: PdfReader | None
    text: str  # of the PDF
    files: dict[str, bytes]


def make(folder, notebooks=None, *options):
    paths, out = fixture.write(folder / "in", notebooks), folder / "out"
    code = build.main([*map(str, paths), "--out", str(out), *options])
    files = {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}
    page = files.get("report.html") and BeautifulSoup(files["report.html"], "html.parser")
    if not files.get("report.pdf", b"").startswith(b"%PDF"):
        return Built(code, page, None, "", files)
    reader = PdfReader(io.BytesIO(files["report.pdf"]))
    text = " ".join(sheet.extract_text() for sheet in reader.pages).replace("\u2060", "")
    return Built(code, page, reader, " ".join(text.split()), files)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of three faultless notebooks."""
    return make(tmp_path_factory.mktemp("whole"), None, "--author", "Ada Lovelace")


def report_of(nb, cell, output=0):
    return nb.cells[cell].outputs[output].metadata["report"]


def manifest(nb):
    return report_of(nb, 9)["manifest"]


def cells(table):
    return [[c.text for c in row.find_all(["th", "td"])] for row in table.find_all("tr")]


def links(paragraph):
    return {a.text.replace("\xa0", " "): a["href"] for a in paragraph.find_all("a")}


# --- A faultless report --------------------------------------------------------------------------


@pytest.mark.fault(65, 78)
def test_html_has_every_figure_table_and_heading(whole):
    page = whole.page
    assert whole.code == 0 and page.html["lang"] == "en" and page.h1.text.startswith("Three")
    fixture.assert_inert(page)
    fixture.assert_linked(page)
    for number in range(1, 7):
        figure = page.find("figure", id=f"figure-{number}")
        assert figure.img["alt"] == f"A row of gray images, figure-{number}"
        assert figure.figcaption.strong.text == f"Figure\xa0{number}."
    drawn = page.find("figure", id="figure-s1").img
    assert drawn["src"].startswith("data:image/svg+xml;base64,")
    assert (drawn["width"], drawn["height"]) == ("432", "180")
    table = page.find("figure", id="table-2")
    assert table.figcaption.text.startswith("Table\xa02. The layers")
    assert len(table.select("thead th")) == 4 and len(table.select("tbody th")) == 3
    headings = [h.text for h in page.find_all(["h2", "h3"])]
    assert headings[:3] == ["Datasets", "MNIST", "Fashion-MNIST"]
    for heading in ("Problem 1: a VAE", "1.1 Mathematics of every kind", "3.1 The model"):
        assert heading in headings and heading.split(" ", 1)[1] in page.nav.text
    assert "Appendix A Parameters and provenance" in headings


def test_cross_references_and_citations(whole):
    sections = [whole.page.find(id=f"section-{n}").find_next("p") for n in (1, 2, 3)]
    first, second, third = map(links, sections)
    assert first["Figure 1"] == "#figure-1" and first["the next"] == "#figure-2"
    assert first["Figure S1"] == "#figure-s1" and second["Figure S2"] == "#figure-s2"
    assert first["Problem 2"] == "#section-2" and first["Figure 3"] == "#figure-3"
    assert first["Datasets"] == "#part-datasets"  # the report's own, without a number
    assert len(first) == 10  # the rest are the papers and their numbers
    assert sections[0].code.text == "Figure 99" and "Figure 99 a word" in sections[0].text
    assert second["Section 1.1"] == "#section-1-1"
    assert third["Section 3.1"] == "#section-3-1"  # the same words in another notebook
    assert whole.page.find("section", class_="abstract").a.text == "Appendix\xa0A"
    references = whole.page.select(".references .csl-entry")
    assert references[2].text.strip().startswith("[3] D. P. Kingma and M. Welling. Auto-encoding")
    assert "the first\xa0[3]" in sections[1].text and first["[3]"] == "#ref-kingma2014vae"
    assert len(references) == 5  # the papers that are cited, no others


def test_notebook_parts_are_where_they_belong(whole):
    page, main = whole.page, whole.page.main.text
    assert "reached an FID of 24.5" in page.find("section", class_="abstract").text
    assert main.count("reached an FID of 24.5") == 1  # not again in the body
    for absent in ("secret", "Made with torch", "CAPTION", "FROM PANDAS"):
        assert absent not in main and absent not in whole.text
    labels = [s.text for s in page.select("details.code summary")]
    assert labels.count("Parameters of this run") == 3
    assert labels.count("Code: Draw the samples") == 3 and "Code: The model" in labels
    assert [d.p.text for d in page.select("div.listing")] == ["helpers/gan.py: Generator"] * 3
    shown = [pre.text for pre in page.select("pre.python") if not pre.find_parent("details")]
    assert sum("train(config, seed=0)" in text for text in shown) == 3
    parameters, software, hashes = page.find("h2", id="section-a").find_all_next("table")
    rows = {name: values for name, *values in cells(parameters)[1:]}
    assert list(rows)[0] == "dataset" and rows["learning_rate"] == ["0.0002"] * 3
    assert rows["snapshot_epochs"] == ["[16, 22, 34]", "", "[16, 22, 34]"]  # not in the second
    assert "5 min 12 s" in software.text and "abc1234" in software.text
    assert len(cells(hashes)) == 9


def test_numbers_signs_and_arrows_in_tables(whole):
    table = whole.page.find(id="table-4")
    assert cells(table) == [
        ["−ELBO", "score", "code", "better"],
        ["−KL", "−1.5 ± 0.2", "-1", "↑"],
        ["1e-5", "2-3", "-", "≈"],
    ]
    sides = [td["style"].split()[-1] for td in table.select("tr:nth-of-type(1) td")]
    assert sides == ["left;", "left;", "center;"]
    assert "−1.5" in whole.text and "−ELBO" in whole.text


def test_mathematics_is_mathml_and_nothing_is_lost(whole):
    page = copy.copy(whole.page)
    assert len(page.find_all("math", display="block")) == 3
    annotations = [a.text for a in page.find_all("annotation")]
    assert any(r"\begin{cases}" in a for a in annotations)
    assert r"\lVert x - \hat{x}\rVert ^2" in annotations
    for math in page.find_all(["math", "pre", "code"]):
        math.extract()
    assert "\\" not in page.main.text and "$$" not in page.main.text
    assert {span.text for span in page.find_all("span", class_="together")} == {",", "."}


def test_pdf_is_tagged_titled_and_complete(whole):
    root, data = whole.reader.trailer["/Root"], whole.reader.metadata
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"].startswith("en")
    assert (data.title, data.author) == ("Three Generative Models of Small Images", "Ada Lovelace")
    assert 8 <= len(whole.reader.pages) <= 20
    for part in ("Figure 6. ", "Table 3. ", "References", "arXiv:1312.6114", "Problem 2", "24/24"):
        assert part in whole.text, part
    assert "helpers/gan.py: Generator" in whole.text and "class Generator" in whole.text
    assert "run.figure" not in whole.text  # tag hide-input
    front = whole.reader.pages[0].extract_text()
    assert "CONTENTS" in front and "Problem 3" in front and "The model" not in front


@pytest.mark.fault(80)
def test_same_bytes_again(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make(tmp_path / "elsewhere é", None, "--author", "Ada Lovelace").files == whole.files


def test_one_notebook_on_request(tmp_path):
    """Its links to the other notebooks are words, its section has its own number."""
    second = {"02_gan.ipynb": fixture.three()["02_gan.ipynb"]}
    built = make(tmp_path, second, "--partial")
    assert built.code == 0 and "Figure 5." in built.text
    assert "2.1 The model" in built.page.nav.text and built.page.find(id="figure-5")
    assert "Section" in built.page.find(id="section-2").find_next("p").text


def test_notices_and_revisions_on_the_title_page(tmp_path):
    notebooks = fixture.three()
    for nb in notebooks.values():
        manifest(nb)["data"] |= {"real": False, "verified": False, "source": "sample"}
    manifest(notebooks["02_gan.ipynb"])["git"] = {"revision": "fff9999", "clean": True}
    report = merge(build.read_all(fixture.write(tmp_path, notebooks)), "smoke")
    soup = BeautifulSoup(html(report), "html.parser")
    smoke, stand_in = (p.text for p in soup.select("header .notice"))
    assert smoke.startswith("SMOKE RUN") and "not from Fashion-MNIST or MNIST" in stand_in
    assert "Revisions abc1234 and fff9999" in soup.header.text
    assert "The stand-in" in soup.nav.text and "Fashion" not in soup.nav.text


def test_images_of_ones_own_are_called_so_and_no_published_set(tmp_path):
    notebooks, own = fixture.three(), {"verified": False, "title": "<b>My</b> $shapes$"}
    for nb in notebooks.values():
        manifest(nb)["data"] |= own | {"source": "csv"}
    report = merge(build.read_all(fixture.write(tmp_path, notebooks)))
    soup = BeautifulSoup(html(report), "html.parser")
    (notice,) = (p.text for p in soup.select("header .notice"))
    assert "from <b>My</b> $shapes$ in place of Fashion-MNIST and MNIST." in notice
    assert "<b>My</b> $shapes$" in soup.nav.text and "somebody’s own" in soup.text
    assert "handwritten" not in soup.text and "clothing" not in soup.text


def test_a_stand_in_is_not_said_to_be_other_than_itself(tmp_path):
    notebooks = fixture.three()
    for nb in notebooks.values():
        stand_in = {"real": False, "verified": False, "title": "stand-in digits"}
        manifest(nb)["data"] |= stand_in
    (notice,) = merge(build.read_all(fixture.write(tmp_path, notebooks)))["front"]["notices"]
    assert "not from Fashion-MNIST or MNIST." in notice


def test_both_sets_of_emnist_have_their_text(tmp_path):
    notebooks = fixture.three()
    manifest(notebooks["02_gan.ipynb"])["data"] |= {"name": "EMNIST-letters", "verified": False}
    manifest(notebooks["02_gan.ipynb"])["data"]["title"] = "EMNIST letters"
    report = merge(build.read_all(fixture.write(tmp_path, notebooks)))
    assert "handwritten letters" in html(report) and not report["front"]["notices"]


# --- Hostile notebooks ---------------------------------------------------------------------------


@pytest.mark.fault(84, 85, 89, 92)
def test_a_hostile_document_is_inert(tmp_path):
    """Texts, names and file names, one of which ends a line for Typst, another is no text."""
    trace, notebooks = tmp_path / "trace", fixture.three()
    nb = notebooks["03_cgan.ipynb"]
    foreign = "<div onclick='x()'>\n\n[a](data:text/html,x) [b](file:///etc/passwd)"
    nb.cells[0].source = f"# Title {EVIL}\n\n{EVIL}\n\n{foreign}"
    nb.cells[4].source = f"print('{EVIL}')  # </code></pre></details>"
    nb.cells[4].outputs[0].text = f'\x1b[31m{EVIL}\x1b[0m \x07 "] #panic() 漢'
    nb.cells[4].outputs.append(fixture.display({"text/html": EVIL, "text/plain": EVIL}))
    nb.cells[4].outputs.append(fixture.display({"application/javascript": "alert(4)"}))
    report_of(nb, 5).update(caption=EVIL, alt=EVIL + '"><b onload="x()">')
    report_of(nb, 6)["rows"][0] = [EVIL, "- a", "# b", '"] #panic()']
    manifest(nb)["parameters"] = {EVIL: EVIL, "`tick`": "a ` b", "empty": ""}
    manifest(nb)["data"] |= {"where": EVIL, "name": "MNIST *x* " + EVIL, "real": False}
    manifest(nb)["device"] = EVIL
    nb.cells.append(fixture.v4.new_raw_cell(EVIL))
    nb.cells[8].source = f"open({str(trace)!r}, 'w')"  # notebooks are read, never run
    name = "<img src=x onerror=alert(1)>\u2028#panic(1)\n#panic(2)\r#panic(3)\u202e.ipynb"
    notebooks = {"01_vae.ipynb": notebooks["01_vae.ipynb"], name: notebooks["02_gan.ipynb"]}
    notebooks["\udcff$x$.ipynb"] = nb
    front = ("--author", f"Ada\nLovelace, 漢 \u202e {EVIL}", "--title", EVIL, "--date", EVIL)
    built = make(tmp_path / "a <b> é", notebooks, *front, "--profile", EVIL)
    assert built.code == 0 and not trace.exists()
    fixture.assert_inert(built.page)
    for sign in ("\x1b", "\x07", "\u202e", "alert(4)"):
        assert sign not in str(built.page)
    assert "<script>alert(1)</script>" in built.page.find("p", class_="author").text
    assert built.page.find(id="figure-6").img["alt"].startswith("<script>")
    assert cells(built.page.find(id="table-6"))[1][1:] == ["- a", "# b", "“] #panic()"]
    assert "□" in built.text  # no font has the Chinese sign; the PDF is made all the same
    assert "built-in stand-in images" in built.reader.pages[0].extract_text()


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
        inner = changed = copy.deepcopy(whole)
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


UNSAFE = {
    "<script>alert(1)</script>": "unsafe SVG: <script>",
    '<path onload="alert(1)"/>': "unsafe SVG: onload='alert(1)'",
    '<image href="https://example.org/x.png"/>': "unsafe SVG: href='https://example.org/x.png'",
    "<style>@import 'https://example.org/x.css'</style>": "unsafe SVG: style=",
    '<path style="fill: url( https://example.org/x)"/>': "unsafe SVG: style=",
    "</svg>": "no SVG with a viewBox",
}


@pytest.mark.fault(114)
def test_an_svg_that_could_run_or_fetch_is_refused():
    for part, expected in UNSAFE.items():
        with pytest.raises(ValueError, match="^" + re.escape(expected)):
            picture_size("image/svg+xml", fixture.SVG.replace("<rect", part + "<rect").encode())
    bomb = '<!DOCTYPE svg [<!ENTITY a "b">]>' + fixture.SVG
    for broken in (bomb, "<p/>", fixture.SVG.replace("432 ", "nan ")):
        with pytest.raises(ValueError, match="^no SVG with a viewBox$"):
            picture_size("image/svg+xml", broken.encode())


# --- Refusals ------------------------------------------------------------------------------------


def half_run(nb):
    """sys.exit(0), too, is no error to papermill, and nothing after it was run."""
    nb.cells[6].update(execution_count=None, outputs=[])


def no_picture(nb):
    """Figure 6 is displayed nowhere, and the record of the run does not have it either."""
    del nb.cells[5].outputs[0]
    manifest(nb)["figures"].clear()


def failed(nb):
    words = {"ename": "ValueError", "evalue": "boom\x1b[2J\u202e\nmore", "traceback": []}
    nb.cells[5].outputs = [fixture.v4.new_output("error", **words)]


def says(cell, **changes):
    """Other metadata of the first display of a cell."""
    return lambda nb: report_of(nb, cell).update(changes)


def shows(content):
    """Another picture in the place of the first."""
    text = base64.b64encode(content).decode()
    return lambda nb: nb.cells[5].outputs[0].data.update({"image/png": text})


def prose(markdown):
    """Another text in cell 4."""
    return lambda nb: nb.cells[3].update(source=markdown)


def sentence(markdown):
    """Another text among the outputs of cell 9."""
    return lambda nb: nb.cells[8].outputs[0].data.update({"text/markdown": markdown})


def twice(nb):
    nb.cells[6].outputs.append(fixture.figure("figure-6"))
    manifest(nb)["figures"]["figure-6"] = report_of(nb, 6, -1)["sha256"]


REFUSALS = [  # notebook, change to it (or other bytes), in the first line of the answer
    ("02_gan", "{ no", "02_gan.ipynb: broken JSON"),
    ("02_gan", '{"cells": [NaN]}', "02_gan.ipynb: broken JSON: NaN is no number"),
    ("02_gan", "[1]", "02_gan.ipynb: not a notebook"),
    ("02_gan", failed, "02_gan.ipynb: cell 6 failed: ValueError: boom"),
    ("02_gan", lambda nb: nb.metadata.papermill.update(exception=True), "ended with an exception"),
    ("03_cgan", half_run, "03_cgan.ipynb: cell 7 was never run"),
    ("03_cgan", lambda nb: nb.cells[9].metadata.papermill.update(status="p"), "cell 10 is p"),
    ("01_vae", lambda nb: nb.cells[6].update(execution_count=2), "cell 7 was run out of order"),
    ("03_cgan", no_picture, "03_cgan.ipynb: figure-6 is missing"),
    ("03_cgan", twice, "03_cgan, cell 7: the label figure-6 is there twice"),
    ("02_gan", twice, "03_cgan.ipynb: figure-6 appears twice"),
    ("02_gan", prose("## layers"), "02_gan, cell 7: the label layers is there twice"),
    ("03_cgan", says(5, label="other"), "figure other is not the one that was drawn"),
    ("01_vae", shows(fixture.png(8, 8)), "figure figure-1 is not the one that was drawn: sha256"),
    ("01_vae", shows(b"Hello!"), "figure figure-1: no whole PNG: 6 bytes, starts 48656c6c"),
    ("01_vae", says(5, alt=" "), "01_vae.ipynb: cell 6: figure figure-1: alt: ' ' does not match"),
    ("01_vae", says(6, label="Layers\n"), "01_vae.ipynb: cell 7: table Layers : label: 'Layers"),
    ("01_vae", lambda nb: nb.cells[5].outputs[0].metadata.pop("report"), "without label"),
    ("01_vae", lambda nb: report_of(nb, 6)["rows"][1].pop(), "row 2 has 3 cells for 4 columns"),
    ("01_vae", lambda nb: nb.cells[9].outputs.clear(), "01_vae.ipynb: no provenance records"),
    (
        "02_gan",
        lambda nb: manifest(nb)["data"]["sha256"].update({"test-images": "0"}),
        "both say MNIST but read different images",
    ),
    ("02_gan", prose("[Figure](#kept)"), "02_gan, cell 4: the link #kept leads nowhere"),
    ("02_gan", prose("[Table](01_vae.ipynb#t)"), "cell 4: the link 01_vae.ipynb#t leads nowhere"),
    ("02_gan", prose("[Figure](#layers)"), "the link #layers says Figure and leads to a table"),
    ("02_gan", prose("## A\n\n## A\n\n[Section](#A)"), "the link #A leads to two places"),
    ("02_gan", prose("![a plot](../p.png)"), "02_gan, cell 4: the picture ../p.png is in a text"),
    ("02_gan", sentence("![p][1]\n\n[1]: attachment:a"), "cell 9: the picture attachment:a is in"),
    ("02_gan", prose("[see](/etc/passwd)"), "cell 4: the link /etc/passwd leads to a file"),
    ("02_gan", prose(r"So $\nosuch{x}$."), r"mathematics that pandoc cannot read: \nosuch{x}"),
    ("02_gan", prose("#### Deep"), "02_gan, cell 4: the heading “Deep” skips a level"),
]


@pytest.mark.fault(75, 76, 77, 78, 82, 86, 113)
@pytest.mark.parametrize("name, change, expected", REFUSALS, ids=[line for *_, line in REFUSALS])
def test_refusals_name_the_fault_and_keep_the_old_report(name, change, expected, tmp_path, capsys):
    notebooks, old = fixture.three(), {"report.html": b"yesterday's", "report.pdf": b"too"}
    if isinstance(change, str):
        notebooks[f"{name}.ipynb"] = change
    else:
        change(notebooks[f"{name}.ipynb"])
    (tmp_path / "out").mkdir()
    for file, content in old.items():
        (tmp_path / "out" / file).write_bytes(content)
    built = make(tmp_path, notebooks)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert built.code == 1 and built.files == old
    assert first.isprintable()
    assert expected in first and first.startswith((f"{tmp_path / 'in'}/", f"{name}, cell"))
    assert last == f"{tmp_path / 'out'}: no report written, what was there is unchanged"


@pytest.mark.fault(76)
def test_missing_notebook_and_every_fault_at_once(tmp_path, capsys):
    notebooks = fixture.three()
    half_run(notebooks["01_vae.ipynb"])
    paths = fixture.write(tmp_path, notebooks)
    paths[2].unlink()
    assert build.main([*map(str, paths), "--out", str(tmp_path / "out")]) == 1
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{paths[0]}: cell 7 was never run")
    assert second == f"{paths[2]}: no such file or directory"
    assert not (tmp_path / "out").exists()


# --- What surrounds the build --------------------------------------------------------------------


@pytest.mark.fault(79)
def test_without_typst_the_html_is_written_and_the_exit_code_says_so(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "typst", None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.pdf").write_bytes(b"old")
    built = make(tmp_path)
    assert built.code == 2 and built.page.find(id="figure-6")
    assert built.files["report.pdf"] == b"old"
    line = "report.pdf: not written; the report.pdf there is from an earlier run"
    assert line in capsys.readouterr().err


@pytest.mark.fault(79)
def test_without_pandoc_nothing_is_written(tmp_path, monkeypatch, capsys):
    def absent():
        raise OSError("No pandoc was found")

    monkeypatch.setattr("pypandoc.get_pandoc_path", absent)
    built = make(tmp_path)
    assert built.code == 1 and not built.files
    assert capsys.readouterr().err.startswith("pandoc cannot be run: No pandoc was found\n")


def test_a_typst_error_names_notebook_and_cell():
    source = "= A\n// at: 02_gan, cell 5\nfine\n#nothing\n// at: 02_gan, cell 6\n"
    with pytest.raises(ReportError, match="^02_gan, cell 5: Typst: unknown variable: nothing$"):
        compile_typst(source, {})


@pytest.mark.fault(115)
@pytest.mark.parametrize("value", ["", "-1", "1e9", "9" * 20])
def test_a_source_date_that_is_no_number_is_one_line(value, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    built = make(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert built.code == 1 and not built.files and len(lines) == 2
    assert lines[0] == f"SOURCE_DATE_EPOCH must be seconds since 1970, got {value!r}"


@pytest.mark.fault(116)
def test_an_interrupt_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("workflow.report.typeset.compile_typst", interrupted)
    built = make(tmp_path)
    assert built.code == 130 and not built.files
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("out: interrupted, no report written, what was there is unchanged")


@pytest.mark.fault(116)
@pytest.mark.parametrize("redirect", ["| true", ">&- 2>&-"])
def test_nobody_listens(redirect, tmp_path):
    paths = " ".join(f"'{path}'" for path in fixture.write(tmp_path / "in"))
    build = f"{sys.executable} -m workflow.report.build {paths} --out {tmp_path}"
    command = ["bash", "-c", f"set -o pipefail; {build} {redirect}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "report.pdf").exists()
