"""The report: what the two files hold, what is inert in them, and what stops the build."""

import base64
import copy
import io
import json
import re
import sys
from typing import NamedTuple

import pytest
import report_fixture as fixture
from bs4 import BeautifulSoup
from pypdf import PdfReader
from report_fixture import manifest_of, report_of

from helpers.markdown import literal
from workflow.report import build
from workflow.report.check import ReportError
from workflow.report.merge import merge
from workflow.report.typeset import compile_typst, html, wrap

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> [go](javascript:alert(3)) ${x}$ #{}"
RUNS = "<script>alert(1)</script><style>@import 'https://example.org/'</style><rect onload='x()'"


class Built(NamedTuple):
    """An exit code, and the parsed files if they are there."""

    code: int
    page: BeautifulSoup | None
    reader: PdfReader | None
    text: str  # of the PDF
    files: dict[str, bytes]


def make(folder, notebooks=None, *options):
    paths, out = fixture.write(folder / "in", notebooks), folder / "out"
    code = build.main([*map(str, paths), *options, "--out", str(out)])
    files = {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}
    page = files.get("report.html") and BeautifulSoup(files["report.html"], "html.parser")
    if not files.get("report.pdf", b"").startswith(b"%PDF"):
        return Built(code, page, None, "", files)
    reader = PdfReader(io.BytesIO(files["report.pdf"]))
    text = " ".join(sheet.extract_text() for sheet in reader.pages).replace("\u2060", "")
    return Built(code, page, reader, " ".join(text.split()), files)


def merged(folder, notebooks, **front):
    return merge(build.read_all(fixture.write(folder, notebooks)), **front)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The report of three faultless notebooks."""
    return make(tmp_path_factory.mktemp("whole"), None, "--author", "Ada Lovelace, Grace Hopper")


def cells(table):
    return [[c.text for c in row.find_all(["th", "td"])] for row in table.find_all("tr")]


# --- A faultless report --------------------------------------------------------------------------


@pytest.mark.fault(65, 78)
def test_figures_tables_and_headings(whole):
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
    headings = [h.text for h in page.find_all(["h2", "h3"])]
    assert headings[:3] == ["Datasets", "MNIST", "Fashion-MNIST"]
    for heading in ("Problem 1: a VAE", "1.1 Mathematics of every kind", "3.1 The model"):
        assert heading in headings and heading.split(" ", 1)[1] in page.nav.text
    assert "4 Luck" in headings and "Appendix A Parameters and provenance" in headings


def test_cross_references_and_citations(whole):
    sections = [whole.page.find(id=f"section-{n}").find_next("p") for n in (1, 2, 3)]
    first, second, third = (
        {a.text.replace("\xa0", " "): a["href"] for a in section("a")} for section in sections
    )
    assert first == {
        "Figure 1": "#figure-1",
        "the next": "#figure-2",
        "Figure S1": "#figure-s1",
        "Problem 2": "#section-2",
        "Figure 3": "#figure-3",
        "Datasets": "#part-datasets",  # the report's own, without a number
        "Kingma & Welling 2014": "https://arxiv.org/abs/1312.6114",
        "[3]": "#ref-kingma2014vae",
        "Lucic et al. 2018": "https://arxiv.org/abs/1711.10337",
        "[4]": first["[4]"],
    }
    assert second["Section 1.1"] == "#section-1-1" and second["Figure S2"] == "#figure-s2"
    assert third["Section 3.1"] == "#section-3-1"  # the same words in another notebook
    assert third["Section 4"] == "#section-4"
    assert whole.page.find("section", class_="abstract").a.text == "Appendix\xa0A"
    references = whole.page.select(".references .csl-entry")
    assert references[2].text.strip().startswith("[3] D. P. Kingma and M. Welling. Auto-encoding")
    assert len(references) == 5 and "the first\xa0[3]" in sections[1].text


def test_notebook_parts_are_where_they_belong(whole):
    page, main = whole.page, whole.page.main.text
    assert "reached an FID of 24.5" in page.find("section", class_="abstract").text
    assert main.count("reached an FID of 24.5") == 1  # not again in the body
    assert "epochs: int" not in whole.text  # the appendix has the values
    for absent in ("secret", "Made with torch", "CAPTION", "FROM PANDAS"):
        assert absent not in main and absent not in whole.text
    labels = [s.text for s in page.select("details.code summary")]
    assert labels.count("Parameters of this run") == labels.count("Code: Draw the samples") == 3
    assert "Code of Table\xa06" in labels and "Code: The model" in labels  # no comment
    assert "passes over the data" in page.find("details", class_="code").text
    assert [d.p.text for d in page.select("div.listing")] == ["helpers/gan.py: Generator"] * 3
    shown = [pre.text for pre in page.select("pre.python") if not pre.find_parent("details")]
    assert sum("train(config, seed=0)" in text for text in shown) == 3
    (parameters,) = page.find("h2", id="section-a").find_all_next("table")
    rows = {name: values for name, *values in cells(parameters)[1:]}
    assert rows["learning_rate"] == ["0.0002", ""]
    assert rows["epochs"] == ["10", "passes over the data"]
    assert rows["dataset"] == ["FashionMNIST (01_vae); MNIST (02_gan, 03_cgan)", ""]
    assert rows["snapshot_epochs"] == ["[16, 22, 34] (01_vae, 03_cgan)", ""]
    for part in ("5 min 12 s", "abc1234", "revision 0123456 with uncommitted changes"):
        assert part in page.find(id="section-a-2").find_next("p").text  # the same in all


def test_numbers_signs_and_arrows_in_tables(whole):
    table = whole.page.find(id="table-4")
    assert cells(table) == [
        ["−ELBO", "score", "code", "better"],
        ["−KL", "−1.5 ± 0.2", "-1", "↑"],
        ["1e-5", "2-3", "-", "≈"],
    ]
    sides = [td["style"].split()[-1] for td in table.select("tr:nth-of-type(1) td")]
    assert sides == ["left;", "left;", "center;"]


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
    assert data.title == "Three Generative Models of Small Images"
    assert "Ada Lovelace" in data.author and "Grace Hopper" in data.author
    for part in ("Figure 6. ", "Table 3. ", "References", "arXiv:1312.6114", "24/24", "−ELBO"):
        assert part in whole.text, part
    assert "helpers/gan.py: Generator" in whole.text and "class Generator" in whole.text
    assert "run.figure" not in whole.text  # tag hide-input
    front = whole.reader.pages[0].extract_text()
    for part in ("Problem 2: a GAN", "4 Luck", "Appendix A Parameters and provenance"):
        assert part in front


ONES_OWN = {"verified": False, "title": "<b>My</b> $shapes$"}
STAND_IN = {"real": False, "verified": False, "title": "stand-in digits"}
LETTERS = {"name": "EMNIST-letters", "title": "EMNIST letters", "verified": False}
NOT_PUBLISHED = "from <b>My</b> $shapes$ in place of Fashion-MNIST and MNIST. "


@pytest.mark.parametrize(
    ("data", "profile", "notice", "about"),
    [
        ({}, "smoke", "SMOKE RUN. ", ["Fashion-MNIST", "MNIST"]),
        (STAND_IN, "", "images, not from Fashion-MNIST or MNIST. ", ["The stand-in"]),
        (ONES_OWN, "", NOT_PUBLISHED, [literal("<b>My</b> $shapes$")]),
        (LETTERS, "", None, ["EMNIST", "Fashion-MNIST", "MNIST"]),
    ],
)
def test_the_title_page_says_whose_images_these_are(data, profile, notice, about, tmp_path):
    notebooks = fixture.three()
    for name in ["02_gan.ipynb"] if data is LETTERS else notebooks:
        manifest_of(notebooks[name])["data"] |= data
    report = merged(tmp_path, notebooks, profile=profile)
    assert [notice in said for said in report["front"]["notices"]] == [True] * bool(notice)
    (texts,) = [it["text"] for it in report["items"] if it.get("text", "").startswith("# Data")]
    assert sorted(re.findall("^## (.*)", texts, re.M)) == about


# --- Hostile notebooks ---------------------------------------------------------------------------


@pytest.mark.fault(84, 85, 89, 92, 114)
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
    nb.cells[5].outputs.append(fixture.figure("chart", fixture.SVG.replace("<rect", RUNS)))
    manifest_of(nb)["figures"]["chart"] = report_of(nb, 5, -1)["sha256"]
    report_of(nb, 6)["rows"][0] = [EVIL, "- a", "# b", '"] #panic()']
    manifest_of(nb)["parameters"] = {EVIL: EVIL, "`tick`": "a ` b", "empty": ""}
    manifest_of(nb)["data"] |= {"where": EVIL, "name": "MNIST *x* " + EVIL, "real": False}
    manifest_of(nb)["device"] = EVIL
    nb.cells.append(fixture.v4.new_raw_cell(EVIL))
    nb.cells[8].source = f"open({str(trace)!r}, 'w')"  # notebooks are read, never run
    name = "<img src=x onerror=alert(1)>\u2028#panic(1)\n#panic(2)\r#panic(3)\u202e.ipynb"
    notebooks = {"01_vae.ipynb": notebooks["01_vae.ipynb"], name: notebooks["02_gan.ipynb"]}
    notebooks["\udcff$x$.ipynb"] = nb
    front = ("--author", f"Ada\nLovelace 漢 \u202e {EVIL}", "--title", EVIL, "--date", EVIL)
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


# --- Refusals ------------------------------------------------------------------------------------


def half_run(nb):
    """sys.exit(0), too, is no error to papermill, and nothing after it was run."""
    nb.cells[6].update(execution_count=None, outputs=[])


def no_picture(nb):
    """Figure 6 is displayed nowhere, and the record of the run does not have it either."""
    del nb.cells[5].outputs[0]
    manifest_of(nb)["figures"].clear()


def failed(nb):
    words = {"ename": "ValueError", "evalue": "boom\nmore", "traceback": []}
    nb.cells[5].outputs = [fixture.v4.new_output("error", **words)]


def twice(nb):
    nb.cells[6].outputs.append(fixture.figure("figure-6"))
    manifest_of(nb)["figures"]["figure-6"] = report_of(nb, 6, -1)["sha256"]


def says(cell, **changes):
    """Other metadata of the first display of a cell."""
    return lambda nb: report_of(nb, cell).update(changes)


def shows(content, mime="image/png"):
    """Another picture in the place of the first."""
    content = content if mime != "image/png" else base64.b64encode(content).decode()
    return lambda nb: nb.cells[5].outputs[0].data.update({mime: content})


def without_code(nb):
    """A listing whose text is gone."""
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("report", {}).get("kind") == "source":
                output.data.pop("text/plain")


REFUSALS = [  # notebook, change to it (or other bytes), in the first line of the answer
    ("02_gan", "{ no", "02_gan.ipynb: not a notebook: Expecting property name"),
    ("02_gan", '{"cells": [NaN]}', "02_gan.ipynb: not a notebook: NaN is no number"),
    ("02_gan", "[1]", "02_gan.ipynb: not a notebook"),
    ("02_gan", failed, "02_gan.ipynb: cell 6 failed: ValueError: boom"),
    ("03_cgan", half_run, "03_cgan.ipynb: cell 7 was never run"),
    ("01_vae", lambda nb: nb.cells[6].update(execution_count=2), "cell 7 was run out of order"),
    ("03_cgan", no_picture, "03_cgan.ipynb: figure-6 is missing"),
    ("02_gan", twice, "03_cgan.ipynb: figure-6 appears twice"),
    ("03_cgan", says(5, label="other"), "figure other is not the one that was drawn"),
    ("01_vae", shows(fixture.png(8, 8)), "figure figure-1 is not the one that was drawn: sha256"),
    ("01_vae", shows(b"Hello!"), "01_vae.ipynb: cell 6: no whole picture: 6 bytes of image/png"),
    ("01_vae", shows("<svg", "image/svg+xml"), "cell 6: no whole picture: 4 bytes of image/svg"),
    ("01_vae", shows('<svg viewBox="0 0 0 5"/>', "image/svg+xml"), "cell 6: no whole picture: 24"),
    ("01_vae", without_code, "a display without text/plain"),
    ("01_vae", says(5, alt=" "), "01_vae.ipynb: cell 6: figure figure-1 alt: ' ' does not match"),
    ("01_vae", says(6, label="Layers\n"), "01_vae.ipynb: cell 7: table Layers\n label: 'Layers"),
    ("01_vae", lambda nb: nb.cells[5].outputs[0].metadata.pop("report"), "without label"),
    ("01_vae", lambda nb: report_of(nb, 6)["rows"][1].pop(), "row 2 has 3 cells for 4 columns"),
    ("01_vae", lambda nb: nb.cells[9].outputs.clear(), "01_vae.ipynb: no provenance records"),
    (
        "02_gan",
        lambda nb: manifest_of(nb)["data"]["sha256"].update({"test-images": "0"}),
        "both say MNIST but read different images",
    ),
]


@pytest.mark.fault(75, 76, 77, 86, 113, 114)
@pytest.mark.parametrize("name, change, expected", REFUSALS, ids=[line for *_, line in REFUSALS])
def test_a_refusal_names_notebook_and_fault(name, change, expected, tmp_path):
    notebooks = fixture.three()
    if isinstance(change, str):
        notebooks[f"{name}.ipynb"] = change
    else:
        change(notebooks[f"{name}.ipynb"])
    with pytest.raises(ReportError) as refused:
        build.read_all(fixture.write(tmp_path, notebooks))
    first = refused.value.problems[0]
    assert expected in first and first.startswith(str(tmp_path))


TEXTS = {  # Markdown: what is said of it after "02_gan, cell N: "
    "## layers": "the label layers is there twice",
    "[Figure](#kept)": "the link #kept leads nowhere",
    "[Table](01_vae.ipynb#t)": "the link 01_vae.ipynb#t leads nowhere",
    "[Figure](#layers)": "the link #layers says Figure and leads to a table",
    "## A\n\n## A\n\n[Section](#A)": "the link #A leads to two places",
    "![a plot](../p.png)": "the picture ../p.png is in a text: only run.figure brings pictures",
    "[see](/etc/passwd)": "the link /etc/passwd leads to a file",
    r"So $\nosuch{x}$.": r"mathematics that pandoc cannot read: \nosuch{x}",
    "\\begin{align} x \\end{align}": "mathematics without dollar signs: \\begin{align}",
    "#### Deep": "the heading “Deep” skips a level",
}


@pytest.mark.fault(78, 85, 113)
def test_what_a_text_must_not_hold_is_named_with_its_cell(tmp_path):
    notebooks = fixture.three()
    nb = notebooks["02_gan.ipynb"]
    expected = [f"02_gan, cell {len(nb.cells) + k}: {v}" for k, v in enumerate(TEXTS.values(), 1)]
    nb.cells += [fixture.v4.new_markdown_cell(text) for text in TEXTS]
    with pytest.raises(ReportError) as refused:
        html(merged(tmp_path, notebooks))
    found = refused.value.problems
    lacking = [line for line in expected if not any(fault.startswith(line) for fault in found)]
    assert not lacking and len(found) == len(expected), found


# --- What surrounds the build --------------------------------------------------------------------


@pytest.mark.fault(76, 82)
def test_every_fault_is_a_line_and_the_old_report_stays(tmp_path, capsys):
    notebooks, old = fixture.three(), {"report.html": b"yesterday's", "report.pdf": b"too"}
    half_run(notebooks["01_vae.ipynb"])
    says(6, label="\x1b[2Jx")(notebooks["02_gan.ipynb"])
    (tmp_path / "out").mkdir()
    for file, content in old.items():
        (tmp_path / "out" / file).write_bytes(content)
    built = make(tmp_path, notebooks, str(tmp_path / "gone.ipynb"))
    *lines, last = capsys.readouterr().err.splitlines()
    assert built.code == 1 and built.files == old
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    assert lines[2] == f"{tmp_path / 'gone.ipynb'}: no such file or directory"
    assert last == f"{tmp_path / 'out'}: no report written, what was there is unchanged"


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
    assert "out/report.pdf: not written (" in capsys.readouterr().err


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


def test_long_lines_of_code_are_broken_at_a_space():
    assert wrap("    call(" + "word, " * 20 + ")\n\tx", 99).split("\n") == [
        "    call(" + "word, " * 15,
        "        " + "word, " * 5 + ")",
        "    x",
    ]
    assert wrap("x" * 120, 99).split("\n") == ["x" * 99, "    " + "x" * 21]


@pytest.mark.fault(116)
def test_an_interrupt_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("workflow.report.typeset.compile_typst", interrupted)
    built = make(tmp_path)
    assert built.code == 130 and not built.files
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("out: interrupted, each file there is whole")
