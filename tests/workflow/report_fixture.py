"""Three small executed notebooks that look like the project's, for tests of the report."""

import base64
import hashlib
import io
import json
import re
import zlib

from nbformat import v4
from PIL import Image

CONSTRUCTS = r"""## Mathematics of every kind

The bound is $\log p(x) \ge \mathcal{L}(x)$ with $\sigma^2 = \tfrac{1}{2}$
and $D_{\mathrm{KL}}$(small):

$$
\begin{aligned}
\mathcal{L}(x) &= \mathbb{E}_{q(z \mid x)}\bigl[\log p(x \mid z)\bigr] \\
- D &\le \frac{1}{2} \sum_{j=1}^{16} \left(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\right)
\end{aligned}
$$

$$f(x) = \begin{cases} x & \text{if } x > 0 \\ 0.2\,x & \text{otherwise} \end{cases} \qquad
A = \begin{pmatrix} a & b \\ c & d \end{pmatrix} \otimes B \odot C, \; X \cap Y, \; a \! b$$

$$\operatorname*{arg\,max}_\theta \bigotimes_i \hat{x}_i \ominus \tilde{y} \to \lVert w \rVert_2$$

Inline $\|x - \hat{x}\|^2$, $z \sim \mathcal{U}(-1, 1)^{200}$, $\mathbf{1}[k = y]$.

| layer | shape | $\beta_1$ |
|:------|------:|:---------:|
| `Linear(784, 64)` | 50,240 | 0.5 |

> A quotation, with *emphasis*, **weight** and ~~deletion~~.

1. first
   - nested

```python
x = torch.zeros(3)  # a fence
```
"""
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 432 180" width="432pt" height="180pt">'
    '<rect width="432" height="180" fill="#ffffff"/>'
    '<path d="M 20 160 Q 120 20 412 30" fill="none" stroke="#8a3420" stroke-width="2"/></svg>'
)
LAYERS = [
    ["layer", "output shape", "parameters", r"$\sigma$"],
    ["`Linear`", "(N, 64)", "50,240", "0.021"],
    ["ReLU", "(N, 64)", "0", "–"],
    ["`Linear`", "(N, 784)", "50,960", "1.5 ± 0.2"],
]
SIGNS = [
    ["-ELBO", "score", "code", "better"],
    ["-KL", "-1.5 ± 0.2", "`-1`", "↑"],
    ["1e-5", "2-3", "-", "≈"],
]
LISTING = "class Generator(nn.Module):\n" + "\n".join(
    f"    def part_{i}(self, z):\n        return self.layers[{i}](z)  # (N, 64)\n"
    for i in range(4)
)


def sha(content):
    return hashlib.sha256(content).hexdigest()


def png(width=320, height=96, shade=0):
    """Bytes of a gray PNG with a gradient that depends on `shade`."""
    levels = ((x * 3 + y * 2 + shade * 40) % 256 for y in range(height) for x in range(width))
    picture, file = Image.frombytes("L", (width, height), bytes(levels)), io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


# --- Cells and what they display ---


def display(data, **report):
    return v4.new_output("display_data", data, metadata={"report": report} if report else {})


def text(markdown, kind="text", **more):
    return display({"text/markdown": markdown, "text/plain": markdown}, kind=kind, **more)


def figure(label, svg=None, **size):
    content = svg.encode() if svg else png(shade=len(label), **size)
    data = {"image/svg+xml": svg} if svg else {"image/png": base64.b64encode(content).decode()}
    words = {
        "caption": f"Picture {label}, with $z$ fixed.",
        "alt": f"A row of gray images, {label}",
    }
    words |= {"sha256": sha(content), "width": 6.0}
    return display(data, kind="figure", label=label, **words)


def table(label="layers", rows=LAYERS, see=""):
    plain = {"text/html": "<table><td>FROM PANDAS</table>", "text/plain": "FROM PANDAS"}
    words = {"caption": f"The layers and their sizes{see}.", "columns": rows[0], "rows": rows[1:]}
    return display(plain, kind="table", label=label, **json.loads(json.dumps(words)))


def manifest(name, dataset, figures):
    parts = ("train-images", "train-labels", "test-images", "test-labels")
    reports = [shown.metadata.report for shown in figures]
    return {
        "notebook": name,
        "parameters": {"dataset": dataset, "epochs": 10, "learning_rate": 0.0002}
        | ({} if name == "02_gan" else {"snapshot_epochs": [16, 22, 34]}),
        "data": {
            "name": dataset,
            "title": {"FashionMNIST": "Fashion-MNIST"}.get(dataset, dataset),
            "source": "idx",
            "where": f"$DATA_DIR/{dataset}/raw",
            "verified": True,
            "real": True,
            "train": 60000,
            "test": 10000,
            "sha256": {part: sha(f"{dataset} {part}".encode()) for part in parts},
        },
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.3.1"},
        "device": "cpu, 2 threads",
        "git": {"revision": "abc1234", "clean": True},
        "seconds": {"train": 61.25, "total": 312.0},
        "trained": [
            {"epochs": [1, 10], "seconds": 61.25, "torch": "2.13.0"}
            | {"git": {"revision": "0123456", "clean": False}}
        ],
        "figures": {report["label"]: report["sha256"] for report in reports},
    }


def code(source, *outputs, tag="hide-input"):
    return v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": [tag] if tag else []})


def notebook(name, title, dataset, figures, tables, prose, epochs):
    """An executed notebook with everything that the report must print."""
    losses = "".join(
        f"epoch {i:2d}/{epochs}  loss_d {1.4 - i / 100:.4f}  loss_g {0.7 + i / 100:.4f}\n"
        for i in range(1, epochs + 1)
    )
    drawn = [  # each followed by the caption that JupyterLab shows
        out
        for shown in figures
        for out in (shown, text(f"CAPTION {shown.metadata.report.caption}", "caption"))
    ]
    listing = {"text/markdown": f"```python\n{LISTING}\n```", "text/plain": LISTING}
    cells = [
        v4.new_markdown_cell(f"# {title}\n\n{prose}"),
        code("epochs: int = 10  # passes over the data", tag="parameters"),
        code("# Parameters\nepochs = 3\n", tag="injected-parameters"),
        v4.new_markdown_cell(CONSTRUCTS if name == "01_vae" else "## The model\n\nTwo networks."),
        code(
            "config = GANConfig(epochs=epochs)\nfor record in train(config, seed=0):\n"
            '    print(f"epoch {record.epoch:3d}", flush=True)  # one line each',
            v4.new_output("stream", name="stdout", text=losses),
            tag=None,
        ),
        code("# Draw the samples.\nrun.figure(draw())", *drawn),
        code("run.table(tables)", *tables),
        code("secret = 1", tag="remove-cell"),
        code(
            "run.say(sentence)",
            text(f"The loss ended at **{epochs / 10:.2f}**: see [Table](#layers)."),
            text(f"The {title.lower()} reached an FID of **{epochs}.5**.", "abstract"),
        ),
        code(
            "run.finish()",
            text("Made with torch.", "provenance", manifest=manifest(name, dataset, figures)),
        ),
        code(
            "run.source(gan.Generator)",
            display(listing, kind="source", title="helpers/gan.py: Generator"),
            tag="remove-input",
        ),
    ]
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"
    for count, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    return v4.new_notebook(cells=cells)


def three():
    """{file name: notebook} of a whole, faultless report."""
    first = notebook(
        "01_vae",
        "Problem 1: a VAE",
        "FashionMNIST",
        [figure("figure-1"), figure("figure-2"), figure("losses", SVG)],
        [
            table(see=", drawn in [Figure](#figure-1)"),
            table("all-layers", LAYERS + LAYERS[1:] * 11),
            table("signs", SIGNS),
        ],
        "After [Kingma & Welling 2014](https://arxiv.org/abs/1312.6114). [Figure](#figure-1) "
        "and [the next](#figure-2) show it, [Figure](#losses) how it learned; the GAN of "
        "[Section](02_gan.ipynb) is sharper ([Figure](02_gan.ipynb#figure-3)), on the data of "
        "[Section](#datasets). `Figure 99` is code, and Figure 99 a word. Table 1 of "
        "[Lucic et al. 2018](https://arxiv.org/abs/1711.10337) is theirs.",
        3,
    )
    second = notebook(
        "02_gan",
        "Problem 2: a GAN",
        "MNIST",
        [figure(label) for label in ("figure-3", "figure-4", "figure-5", "losses")],
        [table()],
        "After [Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661) and "
        "[the first](https://arxiv.org/abs/1312.6114). See [Figure](#losses) and "
        "[Section](01_vae.ipynb#Mathematics-of-every-kind).",
        24,
    )
    third = notebook(
        "03_cgan",
        "Problem 3: a conditional GAN",
        "MNIST",
        [figure("figure-6", height=320)],
        [table()],
        "It draws [Figure](#figure-6): [Section](#The-model), then [Section](#Luck).",
        5,
    )
    third.cells.append(v4.new_markdown_cell("# Luck\n\nAnother seed.", id="luck"))
    return {"01_vae.ipynb": first, "02_gan.ipynb": second, "03_cgan.ipynb": third}


def report_of(nb, cell, output=0):
    """What a display says of itself."""
    return nb.cells[cell].outputs[output].metadata["report"]


def manifest_of(nb):
    return report_of(nb, 9)["manifest"]


def write(folder, notebooks=None):
    """Write the notebooks and return their paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, nb in (notebooks or three()).items():
        path = folder / name
        path.write_text(nb if isinstance(nb, str) else json.dumps(nb), encoding="utf-8")
        paths.append(path)
    return paths


# --- What every page must be ---


def assert_inert(soup):
    """Nothing in the page runs or is fetched."""
    assert not soup.find_all(["script", "iframe", "object", "embed", "form", "base"])
    assert len(soup.find_all("style")) == len(soup.find_all("link")) == 1
    styles = soup.style.text + " ".join(tag["style"] for tag in soup.find_all(style=True))
    assert styles.count("url(") == styles.count("url(data:font/woff2;base64,") == 1
    assert "@import" not in styles
    leads, holds = r"#|https?://|mailto:|report.pdf$", "data:(image/|,)"
    for tag in soup.find_all(True):
        for name, value in tag.attrs.items():
            assert not name.startswith("on"), tag
            if name in ("src", "href", "action", "srcset", "data", "poster"):
                assert re.match(leads if tag.name == "a" else holds, value), tag


def assert_lives(soup, paths):
    """A page holds one script, which its policy names, and files of weights as they are, the
    second with its film; takes what runs out of the page."""
    (policy,) = [meta["content"] for meta in soup("meta") if "http-equiv" in meta.attrs]
    (script,) = soup.find_all("script", type="module")
    digest = base64.b64encode(hashlib.sha256(script.string.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ") and f"script-src 'sha256-{digest}';" in policy
    assert policy.count("script-src") == 1 and "unsafe-eval" not in policy
    for aside, path in zip(soup("aside"), paths, strict=True):
        held = [zlib.decompress(base64.b64decode(one.extract().string)) for one in aside("script")]
        film = [(path.parent / "film.png").read_bytes()] if path == paths[1] else []
        assert held == [path.read_bytes(), *film] and len(aside("p")) == len(held)
        assert aside["data-sha256"] == sha(path.read_bytes())
        assert "hidden" in aside.attrs and aside["aria-label"]
    assert soup("script") == [script] and ".live[hidden] { display: none; }" in soup.style.string
    asks = r"\b(https?:|url\(|@import|import\b|fetch|eval|innerHTML)"
    assert not re.search(asks, script.string)
    assert not re.search("animation|transition|setInterval|scroll-behavior", script.string)
    script.extract()


def assert_linked(soup):
    """No identifier is there twice, and every inner link leads to one."""
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    for link in soup.find_all("a", href=re.compile("^#")):
        assert link["href"][1:] in ids, link
