"""The page of live figures: one script that its policy names, the files whole, no request."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import pytest
import torch
from bs4 import BeautifulSoup

from helpers import cgan, explorer, gan, params, training, weights
from workflow import live

FILES = [explorer.last(explorer.PUBLISHED, name) for name in params.CONFIGS]
CHROMIUM = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
# Runs as part of the page's only script: moves the VAE's marker to B, and plays JupyterLab, where
# Python has set z before the figure is there
PROBE = """
// frames of the virtual time
window.requestAnimationFrame = (work) => setTimeout(work, 16);
const frames = async (n) => { while (n--) await new Promise(requestAnimationFrame); };
const dots = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const grays = (el, from, to) => Array.from(el.querySelectorAll("canvas")).slice(from, to)
  .map((canvas) => Array.from(dots(canvas).data).filter((_, i) => i % 4 === 0));
const body = document.body, lab = body.appendChild(document.createElement("div")), listen = {};
const clothes = document.querySelector("aside"), python = { z: [0.1, ...Array(15).fill(1)] };
const model = { get: (name) => python[name], set: (name, z) => { python[name] = z; },
  on: (_, take) => { listen.take = take; }, save_changes() {} };

while (document.querySelectorAll("aside > small").length < 3) await frames(1); // all are awake
[python.weights, python.noise] = Array.from(clothes.querySelectorAll("script"),
  ({ textContent }) => new DataView(decode(textContent).buffer));
render({ el: lab, model });
await frames(150);
const said = { before: [python.z, grays(lab, 1, 2)] };
for (const el of document.querySelectorAll("aside")) said[el.classList[1]] = grays(el, 0, 17);
python.z = [0.1, ...Array(15).fill(0)], listen.take();
const marker = clothes.querySelector(".line input");
marker.value = 1, marker.dispatchEvent(new Event("input"));
await frames(5);
Object.assign(said, { moved: grays(clothes, 0, 2), after: [python.z, grays(lab, 1, 2)] });
body.appendChild(document.createElement("pre")).textContent = JSON.stringify(said);
"""


def test_one_script_that_the_policy_names_and_the_files_as_they_are():
    page = BeautifulSoup(live.page(FILES), "html.parser")
    (policy,) = [meta["content"] for meta in page("meta") if "http-equiv" in meta.attrs]
    script, style = page.find_all("script", type="module"), page.find_all("style")
    for kind, found in (("script", script), ("style", style)):
        (element,) = found
        digest = base64.b64encode(hashlib.sha256(element.string.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert len(page("aside")) == 3
    for aside, path in zip(page("aside"), FILES, strict=True):
        held, noise = aside("script")
        assert base64.b64decode(held.string) == path.read_bytes()
        assert aside["data-sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert "hidden" in aside.attrs and aside["aria-label"]
        assert {held["type"], noise["type"]} == {"application/octet-stream"}
    assert len(page("script")) == 7 and page.noscript
    assert not page.find_all(src=True) and not page.find_all(href=True)
    assert not re.search(
        r"\b(https?:|url\(|@import|import\b|fetch|eval|innerHTML)", str(script + style)
    )
    assert not re.search("animation|transition|setInterval|scroll-behavior", str(script + style))


def test_a_script_that_would_end_its_element_is_refused(monkeypatch):
    monkeypatch.setattr(explorer, "SCRIPT", "'</script>'")
    with pytest.raises(ValueError, match="explorer.js: "):
        live.fragment(FILES)


def test_the_command_writes_a_page_or_one_line(tmp_path, capsys):
    out = tmp_path / "new" / "live.html"
    assert live.main([str(out), str(tmp_path / "gone")]) == 1 and not out.exists()
    assert re.fullmatch(rf"{tmp_path}/gone: no weights_\S+; .*\n", capsys.readouterr().err)
    assert live.main([str(out), str(FILES[0])]) == 0
    assert out.read_text(encoding="utf-8") == live.page(FILES[:1])


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@torch.no_grad()
def test_what_a_browser_shows_is_what_torch_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "SCRIPT", explorer.SCRIPT + PROBE)
    page = tmp_path / "live.html"
    page.write_text(live.page(FILES), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--virtual-time-budget=600000", "--window-size=1000,4000", page.as_uri()]
    command += [f"--user-data-dir={tmp_path / 'profile'}"]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    said = json.loads(html.unescape(re.search("<pre>(.*)</pre>", dump)[1]))

    def same(drawn, expected):
        drawn, expected = torch.tensor(drawn), torch.as_tensor(expected).reshape(-1, 784).int()
        assert (drawn - expected).abs().max() <= 1

    clothes, digits, labels = (weights.load(path) for path in FILES)
    mu, _ = clothes.net.encode(training.to_unit(clothes.images.flatten(1)))
    ends = torch.stack([clothes.images.flatten(1), training.from_unit(clothes.net.decode(mu))], 1)
    same(said["live-vae"], ends[0])
    same(said["moved"], ends[1])
    z = gan.fixed_noise(digits.config)
    same(said["live-gan"], gan.generate(digits.net, torch.cat([z, z[:1]])))
    z = gan.fixed_noise(labels.config)[:1].repeat(10, 1)
    same(said["live-cgan"][1:11], cgan.generate(labels.net, z, torch.arange(10)))
    for moment, number in (("before", 1.0), ("after", 0.0)):
        z, drawn = said[moment]
        assert z == [0.1] + 15 * [number]  # neither the figure nor rounding changed Python's z
        same(drawn, training.from_unit(clothes.net.decode(torch.tensor([z]))))
