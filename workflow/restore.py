"""A published run as a folder that its notebook resumes, so that nothing trains again.

    python -m workflow.restore 02_gan    -> build/published/runs/02_gan

`make report PROFILE=published` begins with it. Networks, history and sessions are those of
report/; what Adam knew is not published, so the sessions are marked as restored, and runs refuse
to train on from there. Needs the real data, as the scores do.
"""

import json
import sys

import torch

from helpers import checkpoint, history, params, runs, weights
from helpers.files import write_atomically, write_json
from helpers.paths import ROOT
from workflow import arguments, publish
from workflow.program import program


def main(words):
    """Write the folder that profiles/published names; whatever run was there is replaced."""
    (name,) = words
    folder, notebook = publish.REPORT / "weights", ROOT / "notebooks" / f"{name}.ipynb"
    own = arguments.given(notebook, [publish.PROFILE / f"{name}.yaml"])
    run = runs.start(name, params.defaults(name) | own | {"resume": False, "device": "cpu"})
    if not run.data.verified:
        raise ValueError(f"{run.data.where}: not the real {run.data.name}, which the scores need")
    listed = (folder / "SHA256SUMS").read_text("utf-8")
    for public, kept in publish.kept_files(name, own).items():
        content = (folder / public).read_bytes()
        if weights.sums({public: content}) not in listed:
            raise ValueError(f"{folder / public}: not the bytes that SHA256SUMS lists")
        write_atomically(run.folder / kept, content)
    labeled = [len(run.data.classes)] if name == "03_cgan" else []
    parts = run.module.build(run.config, *labeled, run.device)
    for part, net in parts._asdict().items():
        if isinstance(net, torch.nn.Module):
            kind = "discriminator" if part == "discriminator" else "weights"
            found = weights.load(run.folder / f"{kind}_{run.config.epochs}.safetensors").net
            net.load_state_dict(found.state_dict())
    manifest = json.loads((publish.REPORT / "manifest.json").read_text("utf-8"))[name]
    sessions = [session | {"restored": True} for session in manifest["trained"]]
    write_json(run.folder / "sessions.json", sessions)
    records = history.read(run.folder, run.module.Record)
    checkpoint.save(run.folder, run.config, run.made_from, records, parts._asdict())


if __name__ == "__main__":
    sys.exit(program(main, sys.argv[1:]))
