"""Makes .venv from environment.yml and constraints.txt; needs Python's own library and pip only.

    python3 workflow/setup_env.py                make or update .venv
    python workflow/setup_env.py check           compare what this python has with the pins
    python3 workflow/setup_env.py constraints    write constraints.txt anew, from a clean install

The first must start with any python3, to be able to say that it is too old: no newer syntax here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VERSIONS = ("3.13", "3.12", "3.11")
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
HEADER = """\
# Exact versions of everything that the packages of environment.yml need in turn (make constraints
# writes this file). No hashes, and nothing of torch's own (triton, the CUDA libraries): those
# belong to the build of torch, and a CPU-only machine and one with a GPU install different ones.
"""


def main(words):
    os.chdir(str(ROOT))
    os.environ.pop("PYTHONPATH", None)  # pip would take what lies there for installed
    commands = {"": make_venv, "check": check, "constraints": write_constraints}
    word = " ".join(words)
    if word not in commands:
        return f"setup_env: {word}: no such command, must be check or constraints"
    try:
        commands[word]()
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return f"setup: {error}"
    return 0


def pins(text):
    """{name as pip writes it: version} of the exact pins under `pip:` in environment.yml."""
    found = {}
    for line in text.split("- pip:", 1)[1].splitlines():
        entry = line.split("#")[0].strip()
        if not entry or entry == "- -e .":
            continue
        match = re.match(r"^- ([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)$", entry)
        if not match:
            raise ValueError(f"environment.yml: must read '- name==version', got {entry!r}")
        if plain(match.group(1)) in map(plain, found):
            raise ValueError(f"environment.yml: {match.group(1)} is there twice")
        found[match.group(1)] = match.group(2)
    return found


def plain(name):
    """A package's name in the one spelling that pip compares."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    return [f"{name}=={version}" for name, version in pins(text).items()]


def suitable_python():
    """The first Python 3.11 to 3.13 with venv: this one, else one on the path."""
    others = [shutil.which("python" + version) for version in VERSIONS]
    for python in [sys.executable] + [other for other in others if other]:
        try:
            said = subprocess.check_output([python, "-c", PROBE], stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError):
            continue
        if said.decode().strip() in VERSIONS:
            return python
    raise ValueError(
        f"{sys.executable} is Python {sys.version.split()[0]}; this needs 3.11, 3.12 or 3.13 with "
        "its venv module (Debian, Ubuntu: apt install python3-venv); to name one: "
        "make PYTHON=/path/to/python3.12"
    )


def make_venv():
    python = VENV / "bin" / "python"
    source = suitable_python()
    if not works(python):
        say(f"making .venv with {source}")
        subprocess.check_call([source, "-m", "venv", "--clear", str(VENV)])
    say("installing the packages of environment.yml into .venv (once; takes minutes)")
    install(python, requirements() + ["-c", "constraints.txt"])
    install(python, ["--no-build-isolation", "--no-deps", "-e", "."])
    # make compares this: a copied or moved folder needs its own installation
    (VENV / ".ok").write_text(str(ROOT) + "\n", encoding="utf-8")
    say("ready")


def works(python):
    try:
        said = subprocess.check_output([str(python), "-c", PROBE], stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return False
    return said.decode().strip() in VERSIONS


def install(python, what):
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check"] + quiet + what
    environment = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
    if subprocess.call(command, env=environment):
        raise ValueError("pip could not install (see above); when that is put right, make again")


def check():
    """Say in one line how the running interpreter's packages differ from the pins."""
    from importlib.metadata import PackageNotFoundError, version  # new in 3.8

    missing, other = [], []
    for name, wanted in pins((ROOT / "environment.yml").read_text(encoding="utf-8")).items():
        try:
            have = version(name).split("+")[0]
        except PackageNotFoundError:
            missing.append(name)
            continue
        if have != wanted:
            other.append(f"{name} {have} ({wanted} is pinned)")
    if missing:
        raise ValueError(
            f"{sys.executable} lacks {', '.join(missing)}; environment.yml lists what is needed"
        )
    if other:
        say("note: other versions than the pinned ones: " + ", ".join(other))


def write_constraints():
    """Install the pins alone into build/constraints-venv and write down what came with them."""
    folder = ROOT / "build" / "constraints-venv"
    subprocess.check_call([suitable_python(), "-m", "venv", "--clear", str(folder)])
    python = str(folder / "bin" / "python")
    install(python, requirements())
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format=freeze"]).decode()
    path = ROOT / "constraints.txt"
    before = path.read_text(encoding="utf-8")
    path.write_text(constraints(listed, requirements(), before), encoding="utf-8")
    shutil.rmtree(str(folder))
    say("wrote constraints.txt")


def constraints(listed, direct, before):
    """The text of constraints.txt.

    listed: what `pip list --format=freeze` printed.  direct: the pins of environment.yml.
    before: the present constraints.txt; its lines with a marker (`; python_version == ...`) that
    name a package this Python does not need are kept.
    """
    skipped = {plain(pin.split("==")[0]) for pin in direct} | {"pip", "wheel"}
    lines = []
    for line in listed.split():
        name, version = line.split("==")
        own = re.match(r"(nvidia|cuda|triton|pytorch-triton|torch)(-|$)", plain(name))
        if plain(name) not in skipped and not own:
            lines.append(f"{name}=={version.split('+')[0]}")
    have = {plain(line.split("==")[0]) for line in lines} | skipped
    for line in before.splitlines():
        if ";" in line and not line.startswith("#") and plain(line.split("==")[0]) not in have:
            lines.append(line)
    return HEADER + "".join(line + "\n" for line in sorted(lines, key=plain))


def say(text):
    print("setup: " + text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
