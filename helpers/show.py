"""What a notebook displays, with the metadata that report/ reads.

Figures and tables carry their number and caption, paragraphs made from variables carry their
Markdown. A picture's SHA-256 stands in its text form, so that nbval, which does not compare
pictures, sees a changed one.
"""

import hashlib
import html
import io

import pandas as pd
import torch
from IPython.display import display

from helpers.files import write_atomically


def show_figure(figure, number, caption, alt, run, data):
    """Write figure_<number>.png into the run's folder and display the same bytes."""
    if type(number) is not int or number < 1:  # it becomes part of a file's name
        raise ValueError(f"figure number must be an int of 1 or more, got {number!r}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    png = buffer.getvalue()
    write_atomically(run / f"figure_{number}.png", png)
    caption += standin_notice(data)
    digest = hashlib.sha256(png).hexdigest()
    width = figure.get_figwidth()
    report = {
        "kind": "figure",
        "number": number,
        "caption": caption,
        "alt": alt,
        "sha256": digest,
        "width": width,
        "real": data.real,
    }
    _display(
        {
            "image/png": png,
            "text/plain": f"Figure {number}. {caption} [sha256 {digest[:12]}]",
        },
        report,
        {"image/png": {"alt": alt, "width": round(width * 96)}},
    )
    _display(_markdown(f"**Figure {number}.** {caption}"), {"kind": "caption"})


def show_table(columns, rows, number, caption, data):
    """Display rows of formatted strings; the first column names the row."""
    caption += standin_notice(data)
    frame = pd.DataFrame(rows, columns=columns)
    text = frame.to_html(index=False, escape=True, border=0, justify="left")
    heading = f"<caption>Table {number}. {html.escape(caption)}</caption>"
    report = {
        "kind": "table",
        "number": number,
        "caption": caption,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    }
    _display(
        {
            "text/html": text.replace("<thead>", heading + "\n  <thead>", 1),
            "text/plain": f"Table {number}. {caption}\n{frame.to_string(index=False)}",
        },
        report,
    )


def show_text(markdown):
    """Display a paragraph whose numbers come from variables."""
    _display(_markdown(markdown), {"kind": "text"})


def show_abstract(markdown):
    """Display the notebook's main result; the report repeats it on its first page."""
    _display(_markdown(markdown), {"kind": "abstract"})


def show_provenance(manifest):
    """Display where this run came from; the report prints all of it in its appendix."""
    git = manifest["git"]
    revision = git["revision"] + ("" if git["clean"] else " with changes") if git else "unknown"
    line = (
        f"Run on {manifest['device']}, torch {manifest['versions']['torch']}, "
        f"revision {revision}; everything about it is in `manifest.json`."
    )
    _display(_markdown(line), {"kind": "provenance", "manifest": manifest})


LAYER_COLUMNS = ("layer", "output", "parameters")


def layer_rows(call, *inputs, module=None):
    """Rows for show_table: each layer that call(*inputs) passes, with its output's shape.

    module: the network whose layers are watched, if it is not `call` itself.
    """
    module, rows = module or call, []

    def note(layer, _, output):
        size = sum(p.numel() for p in layer.parameters())
        shape = " x ".join(map(str, output.shape[1:])) or "1"
        rows.append((layer.__class__.__name__, shape, f"{size:,}" if size else ""))

    leaves = [layer for layer in module.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    was_training = module.training
    module.eval()  # so that BatchNorm does not learn from a made-up input
    with torch.no_grad():
        call(*inputs)
    module.train(was_training)
    for hook in hooks:
        hook.remove()
    return rows


def counted(n, what):
    """1 epoch, 2 epochs."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def standin_notice(data):
    """What every caption must add when the images are not the real set."""
    return "" if data.real else f" (Stand-in images, not {data.name}.)"


def _markdown(text):
    return {"text/markdown": text, "text/plain": text}


def _display(bundle, report, metadata=None):
    display(bundle, raw=True, metadata={**(metadata or {}), "report": report})
