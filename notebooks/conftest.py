"""Makes `pytest --nbval-lax notebooks/` a matter of seconds, not hours.

The parameters of profiles/smoke are added to each `parameters` cell, and the built-in stand-in is
the data. NOTEBOOK_PROFILE=draft or paper takes another profile, and real data where there is some.
"""

import os
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROFILE = os.environ.get("NOTEBOOK_PROFILE", "smoke")


def pytest_collection_modifyitems(items):
    for item in items:
        cell, name = getattr(item, "cell", None), item.path.stem
        file = ROOT / "profiles" / PROFILE / f"{name}.yaml"
        if cell and "parameters" in cell.metadata.get("tags", []) and file.exists():
            values = {"out_dir": f"build/{PROFILE}-cells/{name}"}
            values |= {"source": "sample"} if PROFILE == "smoke" else {}
            values |= yaml.safe_load(file.read_text(encoding="utf-8"))
            cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items())
