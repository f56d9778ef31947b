"""Merge executed notebooks into one: abstract, their sections, datasets, references, appendix.

The result is an ordinary notebook whose metadata says what goes on the title page; the exporters
print it like any other.
"""

import copy
import re
from pathlib import Path

from nbformat import v4

TEXTS = Path(__file__).parent / "text"
TITLE = "Three Generative Models of Small Images"
SUBTITLE = "A variational autoencoder, a deep convolutional GAN and a conditional GAN"
SOURCES = {
    "csv": "CSV files",
    "idx": "IDX files",
    "download": "download",
    "sample": "built-in stand-in",
}


def merge(sources, profile="", author=""):
    """One notebook of all sources (a sequence of check.Source)."""
    manifests = [source.manifest for source in sources]
    last = max((number for source in sources for number in source.tables), default=0)
    tables = iter(range(last + 1, last + 100))
    front = _place("the abstract", numbering="none")
    cells = [_markdown(_text("abstract"), front | {"role": "abstract"})]
    cells += [
        _markdown(output.data["text/markdown"], place | {"role": "abstract"})
        for place, output in _outputs(sources)
        if _kind(output) == "abstract"
    ]
    for section, source in enumerate(sources, 1):
        cells += _section(source, section)
    cells += _datasets(manifests, next(tables))
    cells.append(_markdown("# References", _place("References", numbering="none")))
    cells.append(_markdown("", _place("References") | {"role": "references"}))
    cells += _appendix(manifests, tables)
    nb = v4.new_notebook(cells=cells)
    nb.metadata["report_front"] = {
        "title": TITLE,
        "subtitle": SUBTITLE,
        "author": author,
        "notices": _notices(manifests, profile),
        "facts": _facts(manifests, profile),
    }
    return nb


def code(value):
    """Inline code in Markdown, whatever the text holds."""
    text = " ".join(str(value).split())
    if not text:
        return "(empty)"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def literal(value):
    """Text in Markdown that means nothing but itself."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|$~&:@^\"'])", r"\\\1", " ".join(str(value).split()))


def _text(name):
    return (TEXTS / f"{name}.md").read_text(encoding="utf-8")


def _place(notebook, cell=None, **rest):
    return {"notebook": notebook, "cell": cell, **rest}


def _markdown(text, place):
    return v4.new_markdown_cell(text, metadata={"report_place": place})


def _kind(output):
    return output.get("metadata", {}).get("report", {}).get("kind")


def _outputs(sources):
    for source in sources:
        for number, cell in enumerate(source.notebook.cells, 1):
            place = _place(source.path.stem, number, folder=str(source.path.parent))
            yield from ((place, output) for output in cell.get("outputs", []))


def _section(source, section):
    """The cells of one notebook, without what the title page and the appendix show."""
    for number, cell in enumerate(source.notebook.cells, 1):
        cell = copy.deepcopy(cell)
        cell["id"] = f"s{section}-{cell.get('id', number)}"[:64]
        cell.metadata["report_place"] = _place(
            source.path.stem, number, folder=str(source.path.parent), section=section
        )
        if cell.cell_type == "code":
            cell.outputs = [
                out for out in cell.outputs if _kind(out) not in ("abstract", "provenance")
            ]
        yield cell


def _table(number, caption, columns, rows, place):
    report = {"kind": "table", "number": number, "caption": caption}
    report |= {"columns": columns, "rows": rows}
    output = v4.new_output("display_data", {"text/plain": caption}, metadata={"report": report})
    return v4.new_code_cell("", outputs=[output], metadata={"report_place": place})


def _notices(manifests, profile):
    notices = []
    if profile == "smoke":
        notices.append(
            "SMOKE RUN. Made with the smallest settings, to test that everything works. "
            "Nothing here says how good the models are."
        )
    names = list(dict.fromkeys(m["data"]["name"] for m in manifests if not m["data"]["real"]))
    if names:
        notices.append(
            "STAND-IN DATA. Made from the built-in stand-in images, not from "
            + " or ".join(map(_title, names))
            + ". Its numbers cannot be compared with published ones."
        )
    return notices


def _facts(manifests, profile):
    """One line each: what a reader must know to place the numbers."""
    facts = [f"Profile {profile}"] if profile else []
    facts += [f"Revision {revision}" for revision in dict.fromkeys(map(_revision, manifests))]
    # "cpu, 2 threads": the threads are in the appendix
    facts += dict.fromkeys(str(m.get("device") or "").split(",")[0] for m in manifests)
    return list(filter(None, facts))


def _revision(manifest):
    git = manifest.get("git")
    if not git:
        return "unknown"
    return str(git.get("revision")) + ("" if git.get("clean") else " with uncommitted changes")


def _title(name):
    return {"FashionMNIST": "Fashion-MNIST"}.get(name, name)


def _short(digest):
    return code(str(digest)[:12]) if digest else "–"


def _datasets(manifests, table):
    place = _place("text/datasets.md")
    parts = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", _text("datasets"), re.M | re.S))
    used = list(dict.fromkeys(m["data"]["name"] for m in manifests))
    opening = _text("datasets").split("\n## ")[0]
    text = opening.replace("{table}", f"Table {table}")
    for name in used:
        if name in parts:
            text += f"\n\n## {_title(name)}\n{parts[name]}"
    if not all(m["data"]["real"] for m in manifests):
        text += f"\n\n## The stand-in\n{parts['stand-in']}"
    rows = {}
    for section, manifest in enumerate(manifests, 1):
        data = manifest["data"]
        key = (data["name"], data["source"], data["where"], data["train"], data["test"])
        key += (bool(data["verified"]), data["sha256"].get("train-images"))
        rows.setdefault(key, []).append(str(section))
    yield _markdown(text, place)
    yield _table(
        table,
        "The images behind each section. “Verified” means that the images are, by their SHA-256, "
        "the published ones; the hash shown begins the one of the training images, and Appendix A "
        "has all of them in full.",
        ["Dataset", "Section", "Source", "Where", "Training", "Test", "Verified", "SHA-256"],
        [
            [literal(_title(name)), ", ".join(sections), SOURCES.get(source, literal(source))]
            + [code(where), _count(train), _count(test), "yes" if verified else "no", _short(sha)]
            for (name, source, where, train, test, verified, sha), sections in rows.items()
        ],
        place,
    )


def _count(number):
    return f"{number:,}" if isinstance(number, int) else literal(number)


def _appendix(manifests, tables):
    place = _place("Appendix A", numbering="appendix")
    names = [literal(m["notebook"]) for m in manifests]
    yield _markdown(_text("appendix"), place)
    yield _markdown("## Parameters", place)
    yield _table(
        next(tables),
        "Every parameter of this run; a cell is empty where a notebook has no such parameter.",
        ["Parameter", *names],
        [
            [code(name)]
            + [
                code(_value(m["parameters"][name])) if name in m["parameters"] else ""
                for m in manifests
            ]
            for name in _parameters(manifests)
        ],
        place,
    )
    yield _markdown("## Software, hardware and time", place)
    rows = []
    for name in dict.fromkeys(name for m in manifests for name in m["versions"]):
        rows.append([literal(name), *(literal(m["versions"].get(name, "–")) for m in manifests)])
    rows.append(["Device", *(literal(m.get("device", "–")) for m in manifests)])
    rows.append(["Git revision", *(literal(_revision(m)) for m in manifests)])
    for key in dict.fromkeys(key for m in manifests for key in m["seconds"]):
        times = (_time(m["seconds"].get(key)) for m in manifests)
        rows.append([f"Time, {literal(key)}", *times])
    rows += _trained(manifests)
    yield _table(
        next(tables),
        "Versions, device, revision of the project and run times.",
        ["", *names],
        rows,
        place,
    )
    yield _markdown("## Data", place)
    hashes = {}
    for manifest in manifests:
        for part, digest in manifest["data"]["sha256"].items():
            hashes.setdefault((manifest["data"]["name"], part, digest), []).append(
                manifest["notebook"]
            )
    yield _table(
        next(tables),
        "SHA-256 of every array that was used, in its IDX serialization.",
        ["Dataset", "Part", "SHA-256"],
        [
            [literal(_title(name)), literal(part.replace("-", " ")), code(digest)]
            for name, part, digest in hashes
        ],
        place,
    )


def _trained(manifests):
    """Rows that say where the epochs of each run come from, one for each session."""
    sessions = [m.get("trained") or [] for m in manifests]
    for index in range(max(map(len, sessions), default=0)):
        row = [f"Trained, session {index + 1}" if max(map(len, sessions)) > 1 else "Trained"]
        for listed in sessions:
            if index >= len(listed):
                row.append("–")
                continue
            one = listed[index]
            first, last = one["epochs"]
            where = f"epochs {first} to {last}, {_time(one['seconds'])}, torch {one['torch']}, "
            row.append(literal(where + f"revision {_revision(one)}"))
        yield row


def _parameters(manifests):
    """Names of all parameters: the most important, those of all notebooks, the others."""
    names = list(dict.fromkeys(name for m in manifests for name in m["parameters"]))
    first = ("seed", "dataset", "source", "epochs", "batch_size", "learning_rate")
    rank = {name: index for index, name in enumerate(first)}
    missing = {name: sum(name not in m["parameters"] for m in manifests) for name in names}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), missing[name]))


def _value(value):
    return '""' if value == "" else value


def _time(seconds):
    if not isinstance(seconds, int | float):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
