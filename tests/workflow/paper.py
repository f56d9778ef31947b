"""What a report looks like, in numbers: its pages as pictures, its colors as contrasts."""

import io
import re
import tempfile
from pathlib import Path

import numpy as np
import typst
from PIL import Image

A4 = 21.0, 29.7  # cm
TOP, BOTTOM, SIDE = 2.4, 27.4, 1.1  # cm: where text begins and ends; what code leaves of a margin


def sheets(pdf, pages):
    """The pages of a PDF (bytes), each (height, width): whether there is ink."""
    source = f"#set page(width: {A4[0]}cm, height: {A4[1]}cm, margin: 0pt)\n"
    source += "\n".join(f'#image("it.pdf", page: {k + 1}, width: 100%)' for k in range(pages))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "it.pdf").write_bytes(pdf)
        (Path(folder) / "main.typ").write_text(source)
        drawn = typst.compile(Path(folder) / "main.typ", format="png", ppi=36)
    drawn = [drawn] if isinstance(drawn, bytes) else drawn
    return [np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 250 for png in drawn]


def gap(ink):
    """The highest white band between text, as a share of the page."""
    rows = ink.any(axis=1)
    scale = len(rows) / A4[1]
    area = rows[round(TOP * scale) : round(BOTTOM * scale)]
    filled = np.concatenate([[-1], np.flatnonzero(area), [len(area)]])
    return float(np.diff(filled).max() - 1) / len(rows)


def overflows(ink):
    """Whether anything is printed in the outer margin."""
    edge = round(SIDE / A4[0] * ink.shape[1])
    return bool(ink[:, :edge].any() or ink[:, -edge:].any())


def schemes(css):
    """The colors of both schemes: [{name: "#rrggbb"}, ...], light and dark."""
    roots = re.findall(r":root \{([^}]*)\}", css)[:2]
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", root)) for root in roots)
    return light, light | dark


def contrast(*colors):
    """The contrast of two colors, 1 to 21 (WCAG 2.2, 1.4.3)."""
    levels = np.array([[int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)] for color in colors])
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)
