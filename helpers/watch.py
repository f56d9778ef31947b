"""What somebody sees who trains in a browser: the time left, losses and images, each in its place.

Where nobody looks, as under papermill and nbval, there is nothing of it: a line for each epoch.
"""

import io
import threading
import time
from base64 import b64encode

from IPython import get_ipython
from IPython.display import HTML, display
from PIL import Image


def watched():
    """Whether the running cell was sent by a front end that shows it.

    JupyterLab and its like say which cell it is that they send; papermill and nbval do not.
    """
    parent = getattr(get_ipython(), "get_parent", dict)()
    return "cellId" in parent.get("metadata", {})


def duration(seconds):
    """40 s, 12 min, 1 h 20 min: no finer than anybody needs."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Watch:
    """Two displays that are replaced: the bar every second until the cell ends, the pictures after
    each epoch. What is saved is their last state.

    done: epochs before.  steps: of an epoch, counted by `optimizer`; without one (a GPU's count is
    better left alone) the bar moves after each epoch only.
    """

    def __init__(self, done, epochs, steps, optimizer=None):
        self.done, self.epochs, self.steps, self.optimizer = done, epochs, steps, optimizer
        self.bar, self.pictures = (display(HTML(""), display_id=True) for _ in range(2))
        self.began = self.since = time.monotonic()
        self.first, self.over = done, threading.Event()
        get_ipython().events.register("post_run_cell", self._stop)  # however the cell ends
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self):
        while not self.over.wait(1):
            self._tell()

    def _tell(self):
        within, now = 0, time.monotonic()
        if self.optimizer:
            counted = next(iter(self.optimizer.state.values()), {}).get("step", 0)
            within = min(1, max(0, float(counted) / self.steps - self.done))
        text = f"epoch {self.done + 1} of {self.epochs}"
        if within > 0.05:  # before, it is a guess
            each = (now - self.since) / within
            text += f", about {duration(each * (1 - within))} left in it"
            if self.done + 1 < self.epochs:
                text += f", {duration(each * (self.epochs - self.done - within))} in the run"
        bar = f'<progress max="{self.epochs}" value="{self.done}"></progress>'
        if self.optimizer:
            bar = f'<progress value="{within:.3f}"></progress>'
        self.bar.update(HTML(f"{bar} {text}"))

    def epoch(self, history):
        """Show the losses so far and the images of an epoch that is saved."""
        from helpers import figures  # matplotlib, which workflow.progress can do without

        record = history[-1]
        self.done, self.since = record.epoch, time.monotonic()
        losses = figures.vae_losses if hasattr(record, "test_kl") else figures.gan_losses
        buffer = io.BytesIO()
        losses(history).savefig(buffer, format="png", dpi=96)
        shown = _img(buffer.getvalue(), "The losses so far")
        if hasattr(record, "images"):
            across = 8 if record.images.ndim == 3 else 10
            images = record.images.numpy().reshape(-1, across, 28, 28)
            grid, buffer = Image.fromarray(figures.tile(images)), io.BytesIO()
            grid.resize([2 * side for side in grid.size], 0).save(buffer, "PNG")
            shown += _img(buffer.getvalue(), "What the fixed noise vectors draw")
        self.pictures.update(HTML(shown))

    def _stop(self, _):
        self.over.set()
        get_ipython().events.unregister("post_run_cell", self._stop)
        took = duration(time.monotonic() - self.began)
        self.bar.update(HTML(f"{self.done - self.first} of {self.epochs} epochs in {took}"))


def _img(png, alt):
    data = b64encode(png).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{alt}" style="display: block">'
