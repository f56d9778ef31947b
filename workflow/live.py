"""Live figures in any browser: on a page of their own, and in the report.

    python -m workflow.live build/live.html                 the published networks
    python -m workflow.live build/live.html RUN ...         others: folders or files of weights

A page with live figures holds each file of weights as it is, as base64 in an element that no
browser executes or shows, and exactly one script, which its Content-Security-Policy names.
"""

import hashlib
import sys
from pathlib import Path

from helpers import explorer, params
from helpers.files import write_atomically
from helpers.paths import ROOT, from_here
from workflow.program import program

CONTENTS = (ROOT / "workflow/report/templates/contents.js").read_text(encoding="utf-8")
AFTER = {"01_vae": "figure-2", "02_gan": "figure-5", "03_cgan": "figure-6"}


def embed(page, manifests, notice):
    """The report's page with a live figure after Figures 2, 5 and 6, for browsers with scripts.

    The weights are those that a run's manifest lists; `notice` is told of figures that must do
    without them. Without any the page is returned as it is.
    """
    plain, lacking = page, []
    for manifest in manifests:
        if "weights" not in manifest or manifest["notebook"] not in AFTER:  # older, or another
            continue
        name = f"weights_{manifest['parameters'].get('epochs')}.safetensors"
        digest = manifest["weights"].get(name)
        before, mark, rest = page.partition(f'<figure id="{AFTER[manifest["notebook"]]}">')
        shown, end, after = rest.partition("</figure>")
        try:
            path = ROOT / manifest.get("folder", "") / name
            if not end or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise ValueError
            live = explorer.aside(path, f"{name}, sha256 {digest[:12]}")
            page = f"{before}{mark}{shown}{end}\n{live}{after}"
        except (OSError, ValueError):
            lacking.append(manifest["notebook"])
    if lacking:
        notice(f"no live figures for {', '.join(lacking)}: not the weights that the run has left")
    if page == plain:
        return page
    text, digest = explorer.script(CONTENTS)
    for at, more in (  # the first of each is the template's own
        ("default-src 'none';", f" script-src {digest};"),
        ("<style>", explorer.STYLE),
    ):
        page = page.replace(at, at + more, 1)
    body, end, rest = page.rpartition("</body>")
    return f'{body}<script type="module">{text}</script>\n{end}{rest}'


def main(words):
    """Write the page; damaged or replaced files of weights are refused by name."""
    if not words or words[0].startswith("-"):
        raise ValueError("usage: python -m workflow.live PAGE [WEIGHTS ...]")
    from helpers import weights  # which takes a second, for torch

    out, *wanted = words
    found = [explorer.find(from_here(word)) for word in wanted]
    found = found or [explorer.last(explorer.PUBLISHED, name) for name in params.CONFIGS]
    for path in found:
        weights.load(path)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, explorer.page(found).encode())
    print(f"{out}: {Path(out).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
