"""One report of several executed notebooks: abstract, datasets, their sections, references,
appendix; as items (see document.py), and what goes on the title page."""

import re
from pathlib import Path
from urllib.parse import quote

from helpers.data.sets import SETS, own
from helpers.markdown import literal
from workflow.report.document import DEFAULTS, one_line, table_item, text_item

TEXTS = Path(__file__).parent / "text"
TITLE = "Three Generative Models of Small Images"
SUBTITLE = "A variational autoencoder, a deep convolutional GAN and a conditional GAN"
TIMES = {
    "train": "training",
    "total": "last session, scores included,",
}
PLACES = ("out_dir", "data_dir", "resume", "gan", "cgan")  # parameters that change no number
SOURCES = {
    "csv": "CSV files",
    "idx": "IDX files",
    "download": "download",
    "sample": "built-in stand-in",
}


def merge(sources, profile="", title="", author="", date=""):
    """The report as typeset.html and typeset.pdf take it: what is on the title page, the items,
    and in `names` the notebook that a name in a link means.

    sources: a sequence of check.Source. author: one or several, with commas.
    """
    manifests = [source.manifest for source in sources]
    day = max((source.day for source in sources if source.day), default=None)
    front = {
        "title": one_line(title) or TITLE,
        "subtitle": "" if one_line(title) else SUBTITLE,
        "authors": [one_line(name) for name in author.split(",") if name.strip()],
        "date": one_line(date) or (f"{day:%B} {day.day}, {day.year}" if day else ""),
        "day": str(day or "1970-01-01"),
        "notices": _notices(manifests, profile),
    }
    names = {}
    for source in sources:
        notebook = one_line(source.path.stem)
        names |= {f"{name}.ipynb": notebook for name in (source.manifest["notebook"], notebook)}
    items = [text_item(_text("abstract"), "text/abstract.md", abstract=True), *_datasets(sources)]
    for source in sources:
        items += source.items
    items.append(text_item("# References", "the references", numbering="none"))
    items.append({"kind": "References", "at": "the references", "notebook": ""})
    items += _appendix(manifests, profile, _meanings(items))
    items.sort(key=lambda item: not item.get("abstract"))
    return {"front": front, "names": names, "items": items}


def code(value):
    """Inline code in Markdown, whatever the text holds."""
    text = " ".join(str(value).split()) or '""'
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _text(name):
    return (TEXTS / f"{name}.md").read_text(encoding="utf-8")


def _notices(manifests, profile):
    notices, data = [], [manifest["data"] for manifest in manifests]
    if profile == "smoke":
        notices.append(
            "SMOKE RUN. Made with the smallest settings, to test that everything works. "
            "Nothing here says how good the models are."
        )
    if names := dict.fromkeys(_published(d["name"]) for d in data if not d["real"]):
        notices.append(
            f"STAND-IN DATA. Made from the built-in stand-in images, not from "
            f"{one_line(' or '.join(names))}. Its numbers cannot be compared with published ones. "
            "For the real images: DATA_DIR=folder make report, with files as in data/README.md."
        )
    if others := [d for d in data if _own(d)]:
        titles = dict.fromkeys(d["title"] for d in others)
        names = dict.fromkeys(_published(d["name"]) for d in others)
        notices.append(
            f"NOT THE PUBLISHED FILES. Made from {one_line(' and '.join(titles))} in place of "
            f"{one_line(' and '.join(names))}. Its numbers cannot be compared with published ones."
        )
    return notices


def _revision(git):
    if not git:
        return "unknown"
    return git["revision"] + ("" if git["clean"] else " with uncommitted changes")


def _published(name):
    """What the published set of that name is called, whatever images were read as it."""
    return SETS[name].title if name in SETS else name


def _own(data):
    return own(data["name"], data["title"], data["real"], data["verified"])


def _table(label, caption, columns, rows):
    report = {"label": label, "caption": caption, "columns": columns, "rows": rows}
    return table_item(report, f"the table {label}")


def _datasets(sources):
    opening, *parts = re.split(r"^## ", _text("datasets"), flags=re.M)
    about, rows = {}, {}
    for source in sources:
        data = source.manifest["data"]
        if not data["real"]:
            about["stand-in"] = ["The stand-in"]
        elif _own(data):
            about.setdefault("own", {})[literal(data["title"])] = None
        else:  # EMNIST-letters and EMNIST-digits share a text
            name = data["name"].partition("-")[0]
            about[name] = [literal(_published(name))]
        key = (data["title"], data["source"], data["where"], data["train"], data["test"])
        key += (data["verified"], data["sha256"].get("train-images"))
        link = f"[Section]({quote(one_line(source.path.stem))}.ipynb)"
        rows.setdefault(key, []).append(link)
    for name, text in (part.split("\n", 1) for part in parts):
        if name in about:
            opening += f"\n\n## {', '.join(about[name])}\n{text}"
    yield text_item(opening, "text/datasets.md", numbering="none")
    yield _table(
        "table-datasets",
        "The images behind each section. “Verified” means that the images are, by their SHA-256, "
        "the published ones; the hash shown begins the one of the training images, and the "
        "manifest.json of each run has all of them in full.",
        ["Dataset", "Used in", "Source", "Where", "Training", "Test", "Verified", "SHA-256"],
        [
            [literal(title), ", ".join(links), SOURCES.get(source, literal(source))]
            + [literal(where) if source == "sample" else code(where)]  # a sentence, or a path
            + [f"{train:,}", f"{test:,}", "yes" if verified else "no"]
            + [code(sha[:12]) if sha else "–"]
            for (title, source, where, train, test, verified, sha), links in rows.items()
        ],
    )


def _meanings(items):
    """{parameter: what its comment says} of the notebooks' cells of defaults."""
    texts = "\n".join(item["text"] for item in items if item.get("title") == DEFAULTS)
    found = re.findall(r"^(\w+)\b.*?  # *(.+)$", texts, re.M)
    return {code(name): literal(comment) for name, comment in reversed(found)}


def _appendix(manifests, profile, meanings):
    def text(markdown):
        return text_item(markdown, "the appendix", numbering="appendix")

    names, rows = [literal(m["notebook"]) for m in manifests], []
    known = [{k: v for k, v in m["parameters"].items() if k not in PLACES} for m in manifests]
    for name in dict.fromkeys(name for values in known for name in values):
        owners = {}
        for notebook, values in zip(names, known, strict=True):
            if name in values:
                owners.setdefault(code(values[name]), []).append(notebook)
        everywhere = len(owners) == 1 and len(*owners.values()) == len(names)
        shown = [f"{v} ({', '.join(of)})" for v, of in owners.items()]
        rows.append([code(name), *(owners if everywhere else ["; ".join(shown)])])
    yield text(_text("appendix") + "\n\n## Parameters")
    yield _table(
        "table-parameters",
        "The parameters, but for those that only say where things lie; in brackets the notebooks, "
        "unless all have that value.",
        ["Parameter", "Value", "Meaning"],
        [[*row, meanings.get(row[0], "")] for row in rows] or [["–"] * 3],
    )
    made_with, known = [_made_with(m) for m in manifests], {}
    for facts in made_with:
        for what, value in facts.items():
            known.setdefault(what, []).append(value)
    same = [f"{what} {of[0]}" for what, of in known.items() if len(of) > 1 and len({*of}) == 1]
    same += [f"profile {code(profile)}"] if profile else []
    lines = [f"## Software, hardware and time\n\nIn all of it: {'; '.join(same) or 'nothing'}.\n"]
    for name, facts in zip(names, made_with, strict=True):
        texts = [f"{what} {value}" for what, value in facts.items()]
        own = [text for text in texts if text not in same]
        lines += [f"- **{name}**: {'; '.join(own)}"] if own else []
    yield text("\n".join(lines))


def _made_with(manifest):
    """{what: value} of versions, device and times, and where the epochs of a run come from."""
    values = {literal(name): literal(value) for name, value in manifest["versions"].items()}
    values["on"] = literal(manifest["device"])
    values["scored and drawn at revision"] = literal(_revision(manifest["git"]))
    for key, seconds in manifest["seconds"].items():
        values[TIMES.get(key, literal(key))] = _time(seconds)
    sessions = []
    for one in manifest["trained"]:
        (first, last), revision = one["epochs"], _revision(one["git"])
        made_with = f"torch {one['torch']}, revision {revision}"
        made_with += ", from its published weights" * one.get("restored", False)
        sessions.append(f"epochs {first} to {last}, {_time(one['seconds'])}, {made_with}")
    if sessions:
        values["trained:"] = literal("; ".join(sessions))
    return values


def _time(seconds):
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
