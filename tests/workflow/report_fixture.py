"""Three small executed notebooks that look like the project's, for tests of the report."""

import base64
import hashlib
import json
import struct
import zlib

from nbformat import v4

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

\begin{align*}
\min_G \max_D V(D, G) &= \mathbb{E}_{x}[\log D(x)] + \mathbb{E}_{z}[\log(1 - D(G(z)))] \\
&= \operatorname*{arg\,max}_\theta \bigotimes_i \hat{x}_i \ominus \tilde{y} \to \lVert w \rVert_2
\end{align*}

Inline $\|x - \hat{x}\|^2$, $z \sim \mathcal{U}(-1, 1)^{200}$, $\ln 4 \approx 1.386$,
$\nabla_\theta$, $\mathbf{1}[k = y]$.

| layer | shape | $\beta_1$ |
|:------|------:|:---------:|
| `Linear(784, 64)` | 50,240 | 0.5 |
| ReLU | 0 | – |

> A quotation, with *emphasis*, **weight** and ~~deletion~~.

1. first
2. second
   - nested

```python
x = torch.zeros(3)  # a fence
```
"""


def png(width=320, height=96, shade=0):
    """Bytes of a gray PNG with a gradient that depends on `shade`."""
    rows = b"".join(
        b"\0" + bytes((x * 3 + y * 2 + shade * 40) % 256 for x in range(width))
        for y in range(height)
    )

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def sha(content):
    return hashlib.sha256(content).hexdigest()


def display(data, **report):
    return v4.new_output("display_data", data, metadata={"report": report} if report else {})


def figure(number, caption=None, alt=None, **size):
    content = png(shade=number, **size)
    return display(
        {"image/png": base64.b64encode(content).decode(), "text/plain": f"Figure {number}"},
        kind="figure",
        number=number,
        caption=caption or f"What the generator draws, picture {number}, with $z$ fixed.",
        alt=alt or f"A row of gray images, number {number}",
        sha256=sha(content),
        width=6.0,
        real=True,
    )


def table(number):
    columns = ["layer", "output shape", "parameters", r"$\sigma$"]
    rows = [
        ["`Linear`", "(N, 64)", "50,240", "0.021"],
        ["ReLU", "(N, 64)", "0", "–"],
        ["`Linear`", "(N, 784)", "50,960", "1.5 ± 0.2"],
    ]
    return display(
        {"text/html": "<table><td>FROM PANDAS</table>", "text/plain": "FROM PANDAS"},
        kind="table",
        number=number,
        caption="The layers and their sizes, drawn in Figure 1.",
        columns=columns,
        rows=rows,
    )


def text(markdown, kind="text"):
    return display({"text/markdown": markdown, "text/plain": markdown}, kind=kind)


def stream(lines, name="stdout"):
    return v4.new_output("stream", name=name, text=lines)


def manifest(name, dataset, figures, **changes):
    digest = sha(dataset.encode())
    base = {
        "notebook": name,
        "parameters": {
            "dataset": dataset,
            "source": "auto",
            "data_dir": "",
            "epochs": 10,
            "learning_rate": 0.0002,
            "snapshot_epochs": [16, 22, 34],
            "resume": True,
        },
        "data": {
            "name": dataset,
            "source": "idx",
            "where": f"$DATA_DIR/{dataset}/raw",
            "verified": True,
            "real": True,
            "train": 60000,
            "test": 10000,
            "sha256": {
                part: sha(f"{dataset} {part}".encode())
                for part in ("train-images", "train-labels", "test-images", "test-labels")
            }
            | {"train-images": digest},
        },
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.3.1"},
        "device": "cpu, 2 threads",
        "git": {"revision": "abc1234", "clean": True},
        "seconds": {"train": 61.25, "total": 312.0},
        "figures": {
            str(out.metadata["report"]["number"]): out.metadata["report"]["sha256"]
            for out in figures
        },
    }
    return base | changes


def notebook(name, title, dataset, figures, tables, prose, epochs):
    """An executed notebook with everything that the report must print."""
    losses = "".join(
        f"epoch {i:2d}/{epochs}  loss_d {1.4 - i / 100:.4f}  loss_g {0.7 + i / 100:.4f}\n"
        for i in range(1, epochs + 1)
    )
    record = display(
        {"text/markdown": "Made with torch 2.13.0.", "text/plain": "Made with torch 2.13.0."},
        kind="provenance",
        manifest=manifest(name, dataset, figures),
    )
    cells = [
        v4.new_markdown_cell(f"# {title}\n\n{prose}"),
        v4.new_code_cell(
            "epochs: int = 10  # passes over the data", metadata={"tags": ["parameters"]}
        ),
        v4.new_code_cell("# Parameters\nepochs = 3\n", metadata={"tags": ["injected-parameters"]}),
        v4.new_markdown_cell(CONSTRUCTS if name == "01_vae" else "## The model\n\nTwo networks."),
        v4.new_code_cell(
            "config = GANConfig(epochs=epochs)\nfor record in train(config, seed=0):\n"
            '    print(f"epoch {record.epoch:3d}", flush=True)  # one line each',
            outputs=[stream(losses)],
        ),
        v4.new_code_cell("show.figures()", outputs=with_captions(figures)),
        v4.new_code_cell("show.tables()", outputs=tables),
        v4.new_code_cell("secret = 1", metadata={"tags": ["remove-cell"]}),
        v4.new_code_cell(
            "show.text()",
            outputs=[
                text(f"The loss ended at **{epochs / 10:.2f}**: see Table {tables_of(tables)}."),
                text(f"The {title.lower()} reached an FID of **{epochs}.5**.", "abstract"),
            ],
        ),
        v4.new_code_cell("show.provenance()", outputs=[record]),
    ]
    count = 0
    for index, cell in enumerate(cells):
        cell["id"] = f"cell-{index}"
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.metadata["papermill"] = {"status": "completed", "exception": False}
    return v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
            "papermill": {"exception": None},
        },
    )


def with_captions(figures):
    """Each figure followed by the caption that JupyterLab shows."""
    return [
        out
        for shown in figures
        for out in (shown, text(f"CAPTION {shown.metadata.report.caption}", "caption"))
    ]


def tables_of(tables):
    return tables[0].metadata["report"]["number"]


def three():
    """{file name: notebook} of a whole, faultless report."""
    return {
        "01_vae.ipynb": notebook(
            "01_vae",
            "A variational autoencoder",
            "FashionMNIST",
            [figure(1), figure(2), figure(7, height=200)],
            [table(1)],
            "After [Kingma & Welling 2014](https://arxiv.org/abs/1312.6114). Figures 1 and 2 show "
            "it; the GAN of Section 2 is sharper (Figure 3). `Figure 99` is code. Table 1 of "
            "[Lucic et al. 2018](https://arxiv.org/abs/1711.10337) is theirs.",
            3,
        ),
        "02_gan.ipynb": notebook(
            "02_gan",
            "A generative adversarial network",
            "MNIST",
            [figure(3), figure(4), figure(5)],
            [table(2)],
            "After [Goodfellow et al. 2014](https://arxiv.org/abs/1406.2661) and "
            "[the first](https://arxiv.org/abs/1312.6114). See Figures 3-5 and Section 1.1.",
            24,
        ),
        "03_cgan.ipynb": notebook(
            "03_cgan",
            "A conditional network",
            "MNIST",
            [figure(6, height=320)],
            [table(3)],
            "It draws what it is asked for: Figure 6.",
            5,
        ),
    }


def write(folder, notebooks=None):
    """Write the notebooks and return their paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, nb in (notebooks or three()).items():
        path = folder / name
        path.write_text(nb if isinstance(nb, str) else json.dumps(nb), encoding="utf-8")
        paths.append(path)
    return paths
