"""A trained network to touch: the page itself computes the images, in JupyterLab and elsewhere.

live = Explorer("01_vae")  # or a run's folder, or a file of weights
live                       # the last line of a cell shows it
live.z                     # the code, or the noise, on the screen
live.z = 16 * [0.0]        # and the other way round

Nothing here needs torch but the widget: a page holds files of weights as they are.
"""

import hashlib
import html
import json
from base64 import b64encode
from pathlib import Path
from zlib import compress

from helpers import params
from helpers.files import safetensors_metadata
from helpers.paths import ROOT, from_root, run_dir

HERE, PUBLISHED = Path(__file__).parent, ROOT / "report" / "weights"
SCRIPT = (HERE / "explorer.js").read_text(encoding="utf-8")
STYLE = (HERE / "explorer.css").read_text(encoding="utf-8")
TITLES = {"vae": "A code to move", "gan": "From noise to noise", "cgan": "Noise and label"}
QUESTIONS = {
    "vae": "Move the marker from A to B. On the left the pixels of two images are mixed, on the "
    "right their codes are. On which side is there one whole thing all the way? Then add noise a "
    "few times: the gray sliders jump about, and does the picture mind? Last, draw a stripe on "
    "the left image. Does the decoder show it?",
    "film": "Sixteen noise vectors, and what the network made of them after each epoch. When can "
    "one tell what they are? Do they ever come to rest? A bar says by how many gray levels an "
    "epoch changed them.",
    "gan": "Walk from one noise vector to another. The bars say by how many gray levels neighbors "
    "on the way differ. Is it a steady change, or rest and jumps? Then make z shorter than any z "
    "of the training. What has this network never seen?",
    "cgan": "One z draws all the images, each with another label. Drag z over the map: do slant "
    "and weight change in all of them alike? Then turn the label down to 0. What does z alone "
    "draw?",
}
COLORS = """
:root { color-scheme: light dark; --paper: light-dark(#fffefb, #17171a);
  --text: light-dark(#1d1d1f, #e4e2dd); --soft: light-dark(#57575c, #a9a7a1);
  --line: light-dark(#d9d5cb, #3a3a40); --accent: light-dark(#9a3a24, #f0a58f); }
body { max-width: 42rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 sans-serif;
  color: var(--text); background: var(--paper); }
"""


def Explorer(where="01_vae"):  # noqa: N802, it makes a widget
    """The live figures of the network that `find` finds, for the last line of a cell."""
    from helpers.explorer.widget import Widget

    return Widget(where)


def find(where):
    """The file of weights that is meant: a Path.

    where: such a file, a run's folder (its last epoch), or a notebook's name, such as "01_vae":
    its newest run in build/runs, else the published weights.
    """
    path = run_dir(str(where), "")
    if where in params.CONFIGS:
        runs = (ROOT / "build" / "runs" / where).rglob("weights_*.safetensors")
        newest = max(runs, key=lambda file: file.stat().st_mtime, default=None)
        return last(newest.parent) if newest else last(PUBLISHED, where)
    return path if path.is_file() else last(path)


def last(folder, name="weights"):
    """The file <name>_<epoch>.safetensors of the last epoch in a folder."""
    found = folder.glob(f"{name}_*.safetensors")
    path = max(found, key=lambda file: int(file.stem.rsplit("_", 1)[1]), default=None)
    if path is None:
        raise FileNotFoundError(f"{folder}: no {name}_*.safetensors; run the notebook first")
    return path


def about(path, content):
    """What the bytes of a file of weights say of themselves; ValueError naming the file."""
    try:
        said = json.loads(safetensors_metadata(content)["about"])
        known = said["model"] in TITLES
    except (ValueError, KeyError, TypeError, AttributeError):  # anything may be JSON
        known = False
    if not known:
        raise ValueError(f"{path}: no weights of this project")
    if "network" in said:
        raise ValueError(f"{path}: a discriminator, which draws nothing")
    return said


def film(path, said):
    """The PNG beside a DCGAN's weights with a row of 28-pixel images for each epoch, else b""."""
    run = path.stem.rpartition("_")[0]  # "weights", or "02_gan" of the published
    name = "film.png" if run == "weights" else f"{run}_film.png"
    try:
        content = path.with_name(name).read_bytes() if said["model"] == "gan" else b""
    except FileNotFoundError:
        return b""
    size = [int.from_bytes(content[at : at + 4]) for at in (16, 20)]
    whole = size[0] % 56 == 0 and size[1] == 28 * said["epoch"] and content[25:26] == b"\0"
    return content if whole else b""  # of another run, or another picture; 0 means gray


def aside(path, source):
    """The HTML of one figure, hidden until the script finds it."""
    content = path.read_bytes()
    said = about(path, content)
    model, strip = said["model"], film(path, said)
    asked = f"<p><b>{TITLES[model]}.</b> "
    if strip:
        asked += QUESTIONS["film"] + "</p>\n<p>"
    holder = '<script type="application/octet-stream">{}</script>\n'
    packed = [compress(data, 9) for data in (content, strip) if data]
    held = [holder.format(b64encode(data).decode()) for data in packed]
    return (
        f'<aside class="live" aria-label="{TITLES[model]}" data-source="{html.escape(source)}" '
        f'data-sha256="{hashlib.sha256(content).hexdigest()}" hidden>\n'
        f"{asked}{QUESTIONS[model]}</p>\n{''.join(held)}</aside>\n"
    )


def script(more=""):
    """(text, what a policy calls it) of the only <script type="module"> of a page.

    more: what that script does beside the figures.
    """
    text = "\n" + SCRIPT + more
    if "</script" in text or "<!--" in text:
        raise ValueError("explorer.js: cannot stand inside a script element")
    return text, hashed(text)


def hashed(text):
    """What a policy calls an element with this text."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(paths):
    """A whole HTML page with a figure for each file of weights.

    It holds exactly one script, whose SHA-256 its policy names: nothing else can run, and nothing
    can be asked of anybody. Without scripts there are no figures, and no gaps.
    """
    text, digest = script()
    style = COLORS + STYLE
    policy = f"default-src 'none'; script-src {digest}; style-src {hashed(style)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}; base-uri 'none'; form-action 'none'">
<title>Live figures</title>
<style>{style}</style>
<h1>Live figures</h1>
<p>Trained networks that draw in this page, as you move them. It asks nothing of anybody.</p>
<noscript><p>The figures are drawn by a script, and this browser runs none.</p></noscript>
{"".join(aside(path, from_root(path)) for path in paths)}<script type="module">{text}</script>
</html>
"""
