"""How long a report will train on this machine: python -m workflow.estimate profiles/draft

A few steps of each model are timed on noise. make report says it before the first notebook begins;
where a parameter is refused, the run says so.
"""

import os
import signal
import sys
from dataclasses import replace

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # make says it, and there is nothing to lose

from helpers import params, runs, training  # before torch: sets GOMP_SPINCOUNT
from workflow import parameters, run
from workflow.bench import ours, timed
from workflow.progress import duration

# isort: split
import torch

STEPS = 20
IMAGES = 60_000  # of MNIST and of Fashion-MNIST


def seconds(name, values):
    """Seconds that the training of notebook `name` with {parameter: value} takes, from nothing."""
    config, around = params.check_run(name, values)
    device = training.pick_device(around.device)
    training.set_up(device, runs.THREADS.get(name, 0))
    images = torch.randint(256, (STEPS * config.batch_size, 28, 28), dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    epoch = ours(replace(config, epochs=2), images.to(device), labels.to(device), device)
    epoch()  # the first step is slower
    return timed(epoch, device) / len(images) * (config.train_limit or IMAGES) * config.epochs


def main(profile, *words):
    options = run.parse(["", "", *words])
    took = {}
    for name in params.CONFIGS:
        files = [f"{profile}/{name}.yaml", *options.file]
        values = parameters.given(f"notebooks/{name}.ipynb", files, options.parameter)
        took[name] = seconds(name, values)
    each = ", ".join(f"{name} {duration(of)}" for name, of in took.items())
    print(
        f"report: about {duration(sum(took.values()))} of training on this machine ({each}, of "
        f"{IMAGES:,} images each), then a few minutes for scores and pages; what is trained "
        "already is not trained again",
        flush=True,
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, RuntimeError):  # the notebook will say it
        os._exit(0)  # silently, if nobody reads it any more
