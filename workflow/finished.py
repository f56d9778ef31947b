"""Finished runs, opened again: their networks, their images, what is known of them."""

import json
from typing import NamedTuple

from helpers import cgan, checkpoint, data, params, paths, runs
from workflow.publish import recorded

PARTS = ("train-images", "test-images")
READ = ("dataset", "source", "data_dir", "train_limit")  # what `data.load` was told


class Finished(NamedTuple):
    """A finished run: its networks on a device, what it was made with, and its images."""

    config: object
    parts: NamedTuple
    manifest: dict
    data: data.Dataset


def opened(notebook, where, device, like=None):
    """The Finished of a run of a notebook ("02_gan").

    where: its folder, its executed notebook, or "": build/runs; the newest run in it is taken.
    like: another Finished, whose images it must share. Raises ValueError or OSError in one line.
    """
    home = paths.run_dir(where, notebook)
    if where.endswith(".ipynb"):
        home = paths.run_dir(recorded(home)["folder"], notebook)
    found = []
    for path in home.rglob("manifest.json"):
        manifest = json.loads(path.read_text("utf-8"))
        same = not like or _images(manifest["data"]) == _images(like.manifest["data"])
        if manifest["notebook"] == notebook and same:
            found.append((path.stat().st_mtime, path.parent, manifest))
    if not found:
        on = f" on the same {like.manifest['data']['title']}" if like else ""
        raise FileNotFoundError(
            f"{paths.from_root(home)}: no finished run of notebooks/{notebook}.ipynb{on}"
        )
    _, folder, manifest = max(found, key=lambda one: one[0])
    words = [manifest["parameters"].get(name) for name in READ]
    read = like.data if like else data.load(*words)
    if _images(read._asdict()) != _images(manifest["data"]):
        raise ValueError(f"{paths.from_root(folder)}: made of other images than {read.where}")
    return Finished(*_networks(notebook, folder, len(read.classes), device), manifest, read)


def _images(known):
    """What tells the images of two runs apart, however many of them were for training."""
    return known["name"], known["real"], *(known["sha256"].get(part) for part in PARTS)


def _networks(notebook, folder, classes, device):
    """(config, parts) of a run's checkpoint."""
    state, module = checkpoint.read(folder / "state.pt"), runs.MODELS[notebook]
    known = vars(params.CONFIGS[notebook]())  # a parameter that is gone by now said nothing
    config = {name: value for name, value in state["config"].items() if name in known}
    config = params.CONFIGS[notebook](**config)
    parts = module.build(config, *([classes] if module is cgan else []), device)
    for name in ("generator", "discriminator", "artist"):
        getattr(parts, name).load_state_dict(state["parts"][name])
    return config, parts
