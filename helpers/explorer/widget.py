"""The live figures as a widget of JupyterLab, which says and takes what is on the screen."""

import math

import anywidget
import traitlets

from helpers import explorer, training, weights
from helpers.paths import from_root


class Refused(ValueError):
    """What IPython shows as one line, without the way it took."""

    def _render_traceback_(self):
        return [f"ValueError: {self}"]


class Widget(anywidget.AnyWidget):
    """Live figures of the network that `find` finds; what is wrong is refused in one line.

    z: the code or noise on the screen, a tuple of numbers; set it, and the screen changes.
    """

    _esm, _css = explorer.SCRIPT, explorer.STYLE
    weights, film = (traitlets.Bytes().tag(sync=True) for _ in range(2))
    source = traitlets.Unicode().tag(sync=True)
    z = traitlets.TraitType().tag(sync=True)

    def __init__(self, where):
        try:
            path = explorer.find(where)
            content = path.read_bytes()
            strip = explorer.film(path, explorer.about(path, content))
            net, config, _, _, images = weights.load(path)
        except (OSError, ValueError) as error:
            raise Refused(error) from None
        first = weights.noise(config)[0]
        if images is not None:
            first = net.encode(training.to_unit(images[0].flatten()))[0]
        self.size = len(first)
        state = {"weights": content, "film": strip, "source": from_root(path)}
        super().__init__(**state, z=tuple(first.tolist()))

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
