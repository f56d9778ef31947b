"""Live figures on a page of their own: one file, no request, for any browser.

    python -m workflow.live build/live.html                 the published networks
    python -m workflow.live build/live.html RUN ...         others: folders or files of weights

The page holds each file of weights as it is, as base64 in an element that no browser executes or
shows, and exactly one script, whose SHA-256 its Content-Security-Policy names: nothing else can
run, and nothing can be asked of anybody. Without scripts there are no figures, and no gaps.
"""

import hashlib
import html
import sys
from base64 import b64encode
from pathlib import Path

from helpers import explorer, params
from helpers.files import write_atomically
from helpers.paths import from_here, from_root

QUESTIONS = {
    "vae": "Move the marker from A to B. On the left the pixels of two images are mixed, on the "
    "right their codes are. On which side is there a garment all the way? Then add noise a few "
    "times: the gray sliders jump about, and does the picture mind? Last, draw a stripe on the "
    "left image. Does the decoder show it?",
    "gan": "The bars say by how many gray levels neighbors on the way differ. Is it a steady "
    "change, or rest and jumps? Then make z shorter than any z of the training. What has this "
    "network never seen?",
    "cgan": "One z draws all the images, each with another label. Drag z over the map: do slant "
    "and weight change in all of them alike? Then turn the label down to 0. What does z alone "
    "draw?",
}
TITLES = {"vae": "A code of clothes", "gan": "From noise to noise", "cgan": "Noise and label"}
COLORS = """
:root { color-scheme: light dark; --paper: light-dark(#fffefb, #17171a);
  --text: light-dark(#1d1d1f, #e4e2dd); --soft: light-dark(#57575c, #a9a7a1);
  --line: light-dark(#d9d5cb, #3a3a40); --accent: light-dark(#9a3a24, #f0a58f); }
body { max-width: 42rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 sans-serif;
  color: var(--text); background: var(--paper); }
.live { border-top: 1px solid var(--line); margin-top: 1.5rem; }
"""


def fragment(paths):
    """The parts that a page needs to live: (html, css, script, sha256).

    paths: files of weights, one figure each.  html: an <aside> per figure, hidden until the
    script finds it.  script: for one <script type="module">, which `sha256` allows as
    script-src 'sha256-...'. Raises ValueError or OSError naming a file.
    """
    script = "\n" + explorer.SCRIPT
    if "</script" in script or "<!--" in script:
        raise ValueError("explorer.js: cannot stand inside a script element")
    figures = "".join(_aside(Path(path)) for path in paths)
    return figures, explorer.STYLE, script, _sha256(script)


def _sha256(text):
    """What a policy calls an element with this text."""
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _aside(path):
    model, content, noise, _ = explorer.live(path)
    title, source = TITLES[model], html.escape(from_root(path))
    holder = '<script type="application/octet-stream">{}</script>\n'
    held = "".join(holder.format(b64encode(data).decode()) for data in (content, noise))
    return (
        f'<aside class="live" aria-label="{title}" data-source="{source}" '
        f'data-sha256="{hashlib.sha256(content).hexdigest()}" hidden>\n'
        f"<p><b>{title}.</b> {QUESTIONS[model]}</p>\n{held}</aside>\n"
    )


def page(paths):
    """A whole HTML page with a figure for each file of weights."""
    figures, css, script, digest = fragment(paths)
    style = COLORS + css
    policy = f"default-src 'none'; script-src '{digest}'; style-src '{_sha256(style)}'"
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
{figures}<script type="module">{script}</script>
</html>
"""


def main(words):
    """Write the page; exit status 1 with one line if a file is refused."""
    if not words or words[0].startswith("-"):
        print(__doc__ or "python -m workflow.live PAGE [WEIGHTS ...]", file=sys.stderr)
        return 2
    out, *wanted = words
    try:
        found = [explorer.find(from_here(word)) for word in wanted]
        found = found or [explorer.last(explorer.PUBLISHED, name) for name in params.CONFIGS]
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, page(found).encode())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
