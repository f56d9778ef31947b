"""What a notebook displays, with the metadata that the report reads.

Figures and tables carry a label and a caption, so that prose can say [Figure](#losses); paragraphs
made from numbers carry their Markdown. A picture's SHA-256 stands in its text form, where nbval,
which does not compare pictures, sees a change.
"""

import hashlib
import html
import inspect
import io
import re
from pathlib import Path

import pandas as pd
from IPython.display import display

from helpers import paths
from helpers.files import write_atomically


class Display:
    """Displays, and writes the pictures into a folder.

    note: what every caption must add, such as that the images are not the real ones.
    """

    def __init__(self, folder, note=""):
        self.folder, self.note = Path(folder), note
        self.figures, self.labels = {}, set()  # label -> SHA-256; all labels

    def figure(self, label, figure, caption, alt):
        """Write the picture into the run's folder and display the same bytes.

        label: what prose refers to; "figure-1" to "figure-6" are the assignment's figures, whose
        files are figure_1.png to figure_6.png. Others are named by label: <label>.svg or .png.
        """
        numbered = re.fullmatch(r"figure-([1-6])", label)
        kind = "png" if any(axes.images for axes in figure.axes) else "svg"  # a chart
        content = _drawn(figure, kind)
        name = f"figure_{numbered[1]}" if numbered else self._new(label)
        write_atomically(self.folder / f"{name}.{kind}", content)
        digest = self.figures[label] = hashlib.sha256(content).hexdigest()
        caption += self.note
        title = f"Figure {numbered[1]}" if numbered else f"Figure “{label}”"
        report = {"kind": "figure", "label": label, "caption": caption, "alt": alt}
        report |= {"sha256": digest, "width": figure.get_figwidth()}
        shown = {"alt": alt, "width": round(figure.get_figwidth() * 96)}
        text = f"{title}. {caption} [sha256 {digest[:12]}]"
        beside = {"kind": "caption", "label": label}  # for JupyterLab; the report prints its own
        show(prose(f'<a id="{label}"></a>'), beside)
        pictures = {"image/png": content}
        if kind == "svg":  # JupyterLab shows it in trusted notebooks only, else the other
            pictures = {"image/svg+xml": content.decode(), "image/png": _drawn(figure, "png")}
        around = {"needs_background": "light"}  # in JupyterLab's dark theme
        show(pictures | {"text/plain": text}, report, around | dict.fromkeys(pictures, shown))
        show(prose(f"**{title}.** {caption}"), beside)

    def table(self, label, content, caption):
        """Display (columns, rows) of formatted strings; the first column names the row."""
        columns, rows = content
        caption += self.note
        report = {"kind": "table", "label": self._new(label), "caption": caption}
        report |= {"columns": list(columns), "rows": [list(row) for row in rows]}
        frame = pd.DataFrame(rows, columns=columns)
        plain = f"Table “{label}”. {caption}\n{frame.to_string(index=False)}"
        show({"text/html": _table(label, caption, columns, rows), "text/plain": plain}, report)

    def say(self, markdown):
        """Display a paragraph whose numbers come from the run; nothing if it is empty."""
        if markdown:
            show(prose(markdown), {"kind": "text"})

    def abstract(self, markdown):
        """Display the notebook's main result; the report's first page repeats it."""
        show(prose(markdown), {"kind": "abstract"})

    def source(self, thing):
        """Show the code that runs: the source of a class or function of helpers."""
        code = inspect.getsource(thing).rstrip()
        place = Path(inspect.getsourcefile(thing)).relative_to(paths.ROOT).as_posix()
        report = {"kind": "source", "title": f"{place}: {thing.__name__}"}
        bundle = {"text/markdown": f"`{report['title']}`\n\n```python\n{code}\n```"}
        show(bundle | {"text/plain": code}, report)

    def _new(self, label):
        """The label, if it may be the name of a file and is new to this notebook."""
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", label) or len(label) > 40:
            raise ValueError(f"label must be of a-z, 0-9 and hyphens, got {label!r}")
        if label in self.labels:
            raise ValueError(f"label {label!r} is there twice")
        self.labels.add(label)
        return label


def _drawn(figure, kind):
    """The bytes of a picture of this kind, the same whenever it is drawn."""
    unsaid = {"png": ["Software"], "svg": ["Date", "Creator"]}[kind]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=dict.fromkeys(unsaid))
    return buffer.getvalue()


def _table(label, caption, columns, rows):
    """HTML as JupyterLab shows it: columns with words to the left, numbers to the right."""
    words = [any(re.search("[^\\W\\d]{2}", row[i]) for row in rows) for i in range(len(columns))]
    sides = ["left" if left else "right" for left in words]

    def line(tag, cells):
        pairs = zip(sides, cells, strict=True)
        marked = (f'<{tag} style="text-align: {s}">{html.escape(c)}</{tag}>' for s, c in pairs)
        return f"<tr>{''.join(marked)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    title = f"Table “{label}”. {html.escape(caption)}"
    head = f'<caption id="{label}" style="text-align: left">{title}</caption>'
    return (
        f"<table>\n{head}\n<thead>{line('th', columns)}</thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def prose(text):
    """Markdown as a display holds it."""
    return {"text/markdown": text, "text/plain": text}


def show(bundle, report, metadata=None):
    """Display {type: content} with what the report must know of it."""
    display(bundle, raw=True, metadata={**(metadata or {}), "report": report})
