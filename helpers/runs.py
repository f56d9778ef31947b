"""A run as a notebook sees it: one folder, started, resumed, saved, shown and finished.

run = runs.start("02_gan", globals())
history = run.resume(parts)
for record in gan.train_gan(run.config, parts, images, start=len(history)):
    history.append(record)
    run.save(history, parts)
run.figure("losses", figures.losses(history), caption, alt)
run.finish(history, parts)
"""

import ast
import hashlib
import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from traceback import walk_tb

import torch
from IPython import get_ipython

from helpers import cgan, checkpoint, data, gan, params, paths, training, vae, weights
from helpers import history as log
from helpers.display import Display, prose, show
from helpers.files import write_json
from helpers.markdown import literal
from helpers.scores import verdict
from helpers.watch import Watch, watched

MODELS = {"01_vae": vae, "02_gan": gan, "03_cgan": cgan}
THREADS = {"01_vae": 1}  # products this small are faster on one core than on two
UNLABELED = {"01_vae", "02_gan"}  # do without the labels of test images
KEPT = (1, 2, 4, 7, 10, 16, 22, 34, 50)  # epochs whose generators stay, for scores over epochs
PACKAGES = "torch torchvision numpy pandas matplotlib scikit-learn papermill nbconvert".split()


def start(notebook, names):
    """Check the parameters, pick the device, read the data, open the run's folder: a Run.

    names: the notebook's globals(), which hold its parameters. Says in three lines what it found.
    Raises ValueError or OSError in one line; nothing is written before the folder is accepted.
    """
    _errors_in_one_line()
    values = {name: names[name] for name in params.defaults(notebook)}
    config, around = params.check_run(notebook, values | _injected(names))
    device = training.pick_device(around.device)
    training.set_up(device, THREADS.get(notebook, 0))
    print(f"torch {torch.__version__} on {training.describe_device(device)}")
    return Run(notebook, values, config, around, device)


class Run(Display):
    """What `start` found, and what a notebook does with it.

    config: the checked parameters.  device: the torch.device.  data: a data.Dataset.
    title: what captions call the data, in Markdown.  folder: where everything goes.
    """

    def __init__(self, notebook, values, config, around, device):
        self.began = time.perf_counter()
        self.notebook, self.values, self.config, self.device = notebook, values, config, device
        self.module = MODELS[notebook]
        self.data = data.load(
            config.dataset,
            around.source,
            around.data_dir,
            config.train_limit,
            need_test_labels=notebook not in UNLABELED,
        )
        data.check_enough(self.data)
        self.title = literal(self.data.title)
        print(data.describe(self.data))
        self.made_from = self.data.sha256 | {"code": training.code_digest(self.module)}
        folder = paths.run_dir(around.out_dir, notebook) if around.out_dir else self._own_folder()
        if around.resume:
            checkpoint.matching(
                folder, config, self.made_from
            )  # refuses before anything is written
        note = "" if self.data.real else f" (Stand-in images, not {self.data.name}.)"
        super().__init__(checkpoint.open_run(folder), note)
        print(f"run {paths.from_root(self.folder)}", flush=True)

    def _own_folder(self):
        """build/runs/<notebook>/<what differs from the defaults>: other data or code, another.

        Fewer epochs than there are get one too: nothing is cut off.
        """
        name = params.run_name(self.notebook, self.values)
        made = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()[:6]
        folder = paths.run_dir("", self.notebook, f"{name}-{made}")
        others = {path.name for path in folder.parent.glob(f"{name}-??????")} - {folder.name}
        if others:
            print(f"beside {max(others)}, which other code or data made: a run of its own")
        state = folder / "state.pt"
        if state.exists() and len(checkpoint.read(state)["history"]) > self.config.epochs:
            folder = folder.with_name(f"{folder.name}-{self.config.epochs}-epochs")
        return folder

    # --- Training ----------------------------------------------------------------------------

    def resume(self, parts):
        """Put the checkpoint's state into the parts; its history, [] if there is none."""
        history = []
        if self.values["resume"]:
            history = checkpoint.resume(
                self.folder, self.config, self.made_from, self.module.Record, parts._asdict()
            )
        self.sessions = _read_sessions(self.folder, len(history))
        self.resumed = len(history)
        self.clock = time.perf_counter()
        for record in history:
            self._tell(record)
        if history and len(history) < self.config.epochs:
            if any(session.get("restored") for session in self.sessions):
                raise ValueError(
                    f"{self.folder}: restored from published weights, without the state of Adam: "
                    f"nothing goes on after epoch {len(history)}; set another out_dir"
                )
            print(f"continuing after epoch {len(history)}", flush=True)
        self.watch = None
        if watched() and len(history) < self.config.epochs:
            steps = len(self.data.train.images) // self.config.batch_size
            counting = parts.optimizer if self.module is vae else parts.opt_d
            on_cpu = self.device.type == "cpu"
            self.watch = Watch(len(history), self.config.epochs, steps, on_cpu and counting)
        return history

    def save(self, history, parts):
        """Write state.pt and, at the epochs that are shown, weights; then print the epoch's line.

        Warns in a second line if something is odd.
        """
        record = history[-1]
        if self.module is not vae and record.epoch in {*KEPT, *self._shown_epochs()}:
            self._save_weights(record.epoch, parts)
        checkpoint.save(self.folder, self.config, self.made_from, history, parts._asdict())
        self._note_session(len(history))
        self._tell(record)
        if self.watch:
            self.watch.epoch(history)
        if odd := verdict.warning(history):
            print(f"  warning: {odd}", flush=True)

    def _shown_epochs(self):
        wanted = getattr(self.config, "snapshot_epochs", None)
        return gan.snapshots(wanted, self.config.epochs) if wanted else ()

    def _tell(self, record):
        print(f"epoch {record.epoch:2d}/{self.config.epochs}  {record}", flush=True)

    def _note_session(self, epochs):
        """Keep who trained which epochs, for how long; a killed session stays on record."""
        seconds = round(time.perf_counter() - self.clock, 1)
        session = {"epochs": [self.resumed + 1, epochs], "seconds": seconds}
        session |= {"device": training.describe_device(self.device), "git": revision()}
        self.now = session | {"torch": version("torch")}
        write_json(self.folder / "sessions.json", [*self.sessions, self.now])

    def _save_weights(self, epoch, parts, **more):
        net = parts.model if self.module is vae else parts.artist
        weights.save(self.folder, net, self.config, epoch, self.data.classes, **more)

    # --- The end -----------------------------------------------------------------------------

    def finish(self, history, parts, images=None):
        """Write the history, the last weights and manifest.json, and say where all of it is.

        Of a GAN its images (film.png) and the discriminator's weights too.
        images: (N, 28, 28) uint8 or None, real images that a figure starts from, kept with the
        weights.
        """
        kl = None
        if self.module is vae:
            seen = torch.from_numpy(self.data.test.images).to(self.device)
            kl = vae.kl_per_latent(parts.model, seen.flatten(1))
        self._save_weights(len(history), parts, images=images, kl=kl)
        if judge := getattr(parts, "discriminator", None):
            known = self.config, len(history), self.data.classes
            weights.save(self.folder, judge, *known, name="discriminator")
        log.write(self.folder, history)
        manifest = self._manifest(len(history))
        git = manifest["git"]
        revised = git["revision"] + ("" if git["clean"] else " with changes") if git else "unknown"
        line = (
            f"Run on {manifest['device']}, torch {version('torch')}, revision {revised}; the rest "
            f"is in `{manifest['folder']}/manifest.json`."
        )
        record(self, line, manifest)

    def explore(self):
        """The network just trained as a live figure; nothing where nobody could touch it."""
        if watched():
            from helpers.explorer import Explorer

            return Explorer(self.folder)

    def _manifest(self, epochs):
        known, trained = self.data, list(self.sessions)
        if epochs > self.resumed:
            trained.append(self.now)
        return {
            "notebook": self.notebook,
            "folder": paths.from_root(self.folder),
            "parameters": self.values,
            "data": {
                "name": known.name,
                "title": known.title,
                "source": known.source,
                "where": known.where,
                "verified": known.verified,
                "real": known.real,
                "train": len(known.train.images),
                "test": len(known.test.images),
                "sha256": known.sha256,
            },
            "device": training.describe_device(self.device),
            "threads": torch.get_num_threads(),
            "git": revision(),
            "code": self.made_from["code"],
            "seconds": {
                "train": round(sum(session["seconds"] for session in trained), 1),
                "total": round(time.perf_counter() - self.began, 1),
            },
            "weights": {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(self.folder.glob("weights_*.safetensors"))
            },
            "trained": trained,
        }


def record(page, line, manifest):
    """Write a page's manifest.json, and display it as a line of Markdown.

    page: a Display.  manifest: notebook, parameters, data, device, git, seconds and trained, or
    more; the page's figures are added and, if it has none, the versions of what is installed.
    """
    versions = {"python": platform.python_version()} | {p: version(p) for p in PACKAGES}
    manifest = {"versions": versions, "figures": page.figures} | manifest
    write_json(page.folder / "manifest.json", manifest)
    show(prose(line), {"kind": "provenance", "manifest": manifest})


def revision():
    """{"revision": short hash, "clean": bool} of the project's checkout, or None.

    None without git, and where the project lies in another repository.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def ask(*words):
        command = ["git", "-C", str(paths.ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=own).stdout

    try:
        if Path(ask("rev-parse", "--show-toplevel").strip()) != paths.ROOT:
            return None
        head = ask("rev-parse", "--short=10", "HEAD").strip()
        return {"revision": head, "clean": not ask("status", "--porcelain").strip()}
    except (OSError, subprocess.CalledProcessError):
        return None


def _read_sessions(folder, epochs):
    """The earlier sessions of a folder whose epochs are still part of the run."""
    try:
        listed = json.loads((folder / "sessions.json").read_text(encoding="utf-8"))
        return [session for session in listed if session["epochs"][1] <= epochs]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # none, or changed by a stranger: what is not known is not said


def _injected(names):
    """{name: value} of what papermill's cell of parameters assigned; also what nobody knows."""
    cells = [text for text in names.get("In", []) if text.startswith("# Parameters")]
    assigned = [node for text in cells for node in ast.parse(text).body]
    targets = [t for node in assigned if isinstance(node, ast.Assign) for t in node.targets]
    return {target.id: names.get(target.id) for target in targets if isinstance(target, ast.Name)}


def _errors_in_one_line():
    """Let IPython show what helpers refuse as one line, and any other error with its traceback."""
    shell = get_ipython()
    if shell is None:
        return

    def show(shell, kind, error, trace, tb_offset=None):
        *_, (last, _) = walk_tb(trace)
        if Path(last.f_code.co_filename).is_relative_to(paths.ROOT / "helpers"):
            lines = [f"{kind.__name__}: {error}"]
        else:
            lines = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset)
        shell._showtraceback(kind, error, lines)

    shell.set_custom_exc((ValueError, OSError), show)
