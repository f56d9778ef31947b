"""Pages with live figures: one script that the policy names, the files whole, no request."""

import copy
import hashlib
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import report_fixture as fixture
import torch
from bs4 import BeautifulSoup
from PIL import Image

from helpers import cgan, explorer, gan, params, training, weights
from workflow import live
from workflow.program import program
from workflow.report.build import read_all
from workflow.report.merge import merge
from workflow.report.typeset import html

CHROMIUM = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
# Runs as part of the page's only script: moves the VAE's marker to B, and plays JupyterLab, where
# Python has set z before the figure is there
PROBE = """
// frames of the virtual time
window.requestAnimationFrame = (work) => setTimeout(work, 16);
const frames = async (n) => { while (n--) await new Promise(requestAnimationFrame); };
const dots = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const grays = (el, from, to, of = ":not(.film) > canvas") =>
  Array.from(el.querySelectorAll(of)).slice(from, to)
    .map((canvas) => Array.from(dots(canvas).data).filter((_, i) => i % 4 === 0));
const body = document.body, lab = body.appendChild(document.createElement("div")), listen = {};
const clothes = document.querySelector("aside"), python = { z: [0.1, ...Array(15).fill(1)] };
const model = { get: (name) => python[name], set: (name, z) => { python[name] = z; },
  on: (_, take) => { listen.take = take; }, save_changes() {} };

const awake = () => document.querySelectorAll("aside > small, .film > canvas").length;
while (awake() < 4) await frames(1);
python.weights = new DataView((await decode(clothes.querySelector("script"))).buffer);
python.film = new DataView(new ArrayBuffer(0));
render({ el: lab, model });
await frames(150);
const said = { before: [python.z, grays(lab, 1, 2)] };
for (const el of document.querySelectorAll("aside")) said[el.classList[1]] = grays(el, 0, 17);
python.z = [0.1, ...Array(15).fill(0)], listen.take();
const marker = clothes.querySelector(".line input");
marker.value = 1, marker.dispatchEvent(new Event("input"));
const after = (epoch) => {
  const scale = document.querySelector(".film input");
  scale.value = epoch, scale.dispatchEvent(new Event("input"));
  return [grays(document, 0, 1, ".film > canvas")[0], scale.nextSibling.value];
};
await frames(5);
Object.assign(said, { film: [after(1), after(2)] });
Object.assign(said, { moved: grays(clothes, 0, 2), after: [python.z, grays(lab, 1, 2)] });
body.appendChild(document.createElement("pre")).textContent = JSON.stringify(said);
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of weights for each model, the DCGAN's with a film of two epochs."""
    found, rng = [], np.random.default_rng(0)
    for name in params.CONFIGS:
        folder = tmp_path_factory.mktemp(name)
        net, config, _, classes, images = weights.load(explorer.last(explorer.PUBLISHED, name))
        images = images if images is None else images[:2]  # A and B alone: no canvases to pick
        weights.save(folder, net, config, 2, classes, images)
        Image.fromarray(rng.integers(0, 256, (56, 448), np.uint8)).save(folder / "film.png")
        found.append(folder / "weights_2.safetensors")
    return found


def test_a_page_of_its_own(files):
    page = BeautifulSoup(explorer.page(files), "html.parser")
    (policy,) = [meta["content"] for meta in page("meta") if "http-equiv" in meta.attrs]
    assert explorer.hashed(page.style.string) in policy and page.noscript
    assert {one["type"] for one in page("script")} == {"application/octet-stream", "module"}
    fixture.assert_lives(page, files)
    assert not page.find_all(src=True) and not page.find_all(href=True)


def test_the_report_lives_by_the_weights_that_its_manifests_list(files, tmp_path):
    notebooks = fixture.three()
    for notebook, path in zip(notebooks.values(), files, strict=True):
        for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
            if manifest := output.get("metadata", {}).get("report", {}).get("manifest"):
                manifest["folder"] = str(path.parent)
                manifest["parameters"]["epochs"] = 2
                manifest["weights"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    sources = read_all(fixture.write(tmp_path, notebooks))
    manifests, said = [copy.deepcopy(source.manifest) for source in sources], []
    plain = html(merge(sources))
    page = BeautifulSoup(live.embed(plain, manifests, said.append), "html.parser")
    fixture.assert_lives(page, files)
    figures = [aside.find_previous_sibling("figure")["id"] for aside in page("aside")]
    assert figures == ["figure-2", "figure-5", "figure-6"] and not said
    for aside in page("aside"):
        aside.extract()
    fixture.assert_inert(page)
    assert page.main.text.split() == BeautifulSoup(plain, "html.parser").main.text.split()

    other = hashlib.sha256(b"").hexdigest()
    for change in (
        {"weights": {"weights_2.safetensors": other}},
        {"folder": "gone"},
        {"weights": {}},
    ):
        changed = [manifests[0] | change, manifests[1] | change, manifests[2]]
        page = BeautifulSoup(live.embed(plain, changed, said.append), "html.parser")
        assert len(page("aside")) == 1 and "no live figures for 01_vae, 02_gan: " in said.pop()
    for manifest in manifests:
        del manifest["weights"]
    assert live.embed(plain, manifests, said.append) == plain


def test_a_script_that_would_end_its_element_is_refused(monkeypatch):
    monkeypatch.setattr(explorer, "SCRIPT", "'</script>'")
    with pytest.raises(ValueError, match="explorer.js: "):
        explorer.page([])


def test_the_command_writes_a_page_or_one_line(files, tmp_path, capsys):
    out = tmp_path / "new" / "live.html"
    assert program(live.main, [str(out), str(tmp_path / "gone")]) and not out.exists()
    assert re.fullmatch(rf"{tmp_path}/gone: no weights_\S+; .*\n", capsys.readouterr().err)
    assert program(live.main, []) and "usage: python -m workflow.live" in capsys.readouterr().err
    assert program(live.main, [str(out), str(files[0])]) == 0
    assert out.read_text(encoding="utf-8") == explorer.page(files[:1])


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@torch.no_grad()
def test_what_a_browser_shows_is_what_torch_draws(files, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "SCRIPT", explorer.SCRIPT + PROBE)
    page, damaged = tmp_path / "live.html", tmp_path / "weights_2.safetensors"
    damaged.write_bytes(files[0].read_bytes()[:-9999])
    page.write_text(explorer.page([*files, damaged]), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--virtual-time-budget=600000", "--window-size=1000,4000", page.as_uri()]
    command += [f"--user-data-dir={tmp_path / 'profile'}"]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    seen = BeautifulSoup(dump, "html.parser")
    assert ["hidden" in aside.attrs for aside in seen("aside")] == [False, False, False, True]
    said = json.loads(seen.pre.string)

    def same(drawn, expected):
        drawn, expected = torch.tensor(drawn), torch.as_tensor(expected).reshape(-1, 784).int()
        assert (drawn - expected).abs().max() <= 1

    clothes, digits, labels = (weights.load(path) for path in files)
    mu, _ = clothes.net.encode(training.to_unit(clothes.images.flatten(1)))
    ends = torch.stack([clothes.images.flatten(1), training.from_unit(clothes.net.decode(mu))], 1)
    same(said["live-vae"], ends[0])
    same(said["moved"], ends[1])
    z = gan.fixed_noise(digits.config)
    same(said["live-gan"], gan.generate(digits.net, torch.cat([z, z[:1]])))
    z = gan.fixed_noise(labels.config)[:1].repeat(10, 1)
    same(said["live-cgan"][1:11], cgan.generate(labels.net, z, torch.arange(10)))
    film = np.asarray(Image.open(files[1].parent / "film.png"))
    for row, (drawn, _) in zip(film.reshape(2, 28, 2, 224), said["film"], strict=True):
        assert drawn == row.swapaxes(0, 1).flatten().tolist()  # eight images above eight
    change = np.abs(film[28:].astype(float) - film[:28]).mean()
    assert said["film"][1][1] == f"epoch 2, {change:.1f} gray levels from the one before"
    for moment, number in (("before", 1.0), ("after", 0.0)):
        z, drawn = said[moment]
        assert z == [0.1] + 15 * [number]  # neither the figure nor rounding changed Python's z
        same(drawn, training.from_unit(clothes.net.decode(torch.tensor([z]))))
