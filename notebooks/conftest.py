"""Makes `pytest --nbval-lax notebooks/` a matter of seconds, not hours.

The parameters of profiles/smoke are added to each `parameters` cell, and the built-in stand-in is
the data. NOTEBOOK_PROFILE=draft or paper takes another profile, and real data where there is some.
The comparison opens the runs that the notebooks before it have left, the page of sweeps the
published tables.
"""

import os
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROFILE = os.environ.get("NOTEBOOK_PROFILE", "smoke")
RUNS = f"build/{PROFILE}-cells"


def pytest_collection_modifyitems(items):
    for item in items:
        cell, name = getattr(item, "cell", None), item.path.stem
        file = ROOT / "profiles" / PROFILE / f"{name}.yaml"
        if not cell or "parameters" not in cell.metadata.get("tags", []):
            continue
        values = {"out_dir": f"{RUNS}/{name}"}
        if name == "comparison":
            values |= {"gan": f"{RUNS}/02_gan", "cgan": f"{RUNS}/03_cgan"}
        elif name == "sweep":
            values |= {"where": "report/sweeps"}
        elif file.exists():
            values |= {"source": "sample"} if PROFILE == "smoke" else {}
            values |= yaml.safe_load(file.read_text(encoding="utf-8"))
        else:
            continue
        cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items())
