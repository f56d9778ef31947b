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


def restore(name):
    """Write the folder that profiles/published names; whatever run was there is replaced."""
    folder, notebook = publish.REPORT / "weights", publish.MAYBE.get(name, name)
    own = arguments.given(
        ROOT / "notebooks" / f"{notebook}.ipynb", [publish.PROFILE / f"{name}.yaml"]
    )
    values = params.defaults(notebook) | own | {"resume": False, "device": "cpu"}
    run = runs.start(notebook, values)
    if not run.data.verified:
        raise ValueError(f"{run.data.where}: not the published images, which the scores need")
    listed = (folder / "SHA256SUMS").read_text("utf-8")
    for public, kept in publish.kept_files(name, values).items():
        content = (folder / public).read_bytes()
        if weights.sums({public: content}) not in listed:
            raise ValueError(f"{folder / public}: not the bytes that SHA256SUMS lists")
        write_atomically(run.folder / kept, content)
    build, labeled = run.module.build, hasattr(run.module, "mix_labels")
    parts = build(run.config, *([len(run.data.classes)] if labeled else []), run.device)
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
    try:
        restore(*sys.argv[1:])
    except (OSError, ValueError) as error:
        sys.exit(str(error))
