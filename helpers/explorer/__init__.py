"""A trained network to touch, in JupyterLab: the page itself computes the images.

live = Explorer("01_vae")  # or a run's folder, or a file of weights
live                       # the last line of a cell shows it
live.z                     # the code, or the noise, on the screen
live.z = 16 * [0.0]        # and the other way round
"""

import math
from pathlib import Path

import anywidget
import torch
import traitlets

from helpers import cgan, gan, params, training, weights
from helpers.paths import ROOT, from_root, run_dir

HERE, PUBLISHED = Path(__file__).parent, ROOT / "report" / "weights"
SCRIPT = (HERE / "explorer.js").read_text(encoding="utf-8")
STYLE = (HERE / "explorer.css").read_text(encoding="utf-8")


class Refused(ValueError):
    """What IPython shows as one line, without the way it took."""

    def _render_traceback_(self):
        return [f"ValueError: {self}"]


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


def live(path):
    """What a figure needs of a file: (model, its bytes, noise vectors, the first z).

    The noise is (n, latent_dim) float32 that no browser can draw again: that of Figure 1, or of
    Figures 3 to 5 (of which Figure 6 takes ten). ValueError or OSError name the file.
    """
    net, config, _, _, images = weights.load(path)
    if isinstance(net, (gan.Discriminator, cgan.Discriminator)):
        raise ValueError(f"{path}: a discriminator, which draws nothing")
    model, rng = weights.MODELS[type(config)], training.rng(config.seed, "figure 1")
    prior = torch.randn((5, config.latent_dim), generator=rng)
    noise = prior if model == "vae" else gan.fixed_noise(config)
    first = noise[0] if images is None else net.encode(training.to_unit(images[0].flatten()))[0]
    return model, Path(path).read_bytes(), noise.numpy().tobytes(), tuple(first.tolist())


class Explorer(anywidget.AnyWidget):
    """Live figures of the network that `find` finds; what is wrong is refused in one line.

    z: the code or noise on the screen, a tuple of numbers; set it, and the screen changes.
    """

    _esm, _css = SCRIPT, STYLE
    weights, noise = (traitlets.Bytes().tag(sync=True) for _ in range(2))
    source = traitlets.Unicode().tag(sync=True)
    z = traitlets.TraitType().tag(sync=True)

    def __init__(self, where="01_vae"):
        try:
            path = find(where)
            _, content, noise, z = live(path)
        except (OSError, ValueError) as error:
            raise Refused(error) from None
        self.size = len(z)
        super().__init__(weights=content, noise=noise, source=from_root(path), z=z)

    def __repr__(self):
        return f"Explorer({self.source!r})"

    @traitlets.validate("z")
    def _check(self, proposal):
        try:
            z = tuple(float(number) for number in proposal.value)
        except (TypeError, ValueError):
            z = ()
        if len(z) != self.size or not all(map(math.isfinite, z)):
            raise Refused(f"z must be {self.size} finite numbers, got {proposal.value!r:.60}")
        return z
