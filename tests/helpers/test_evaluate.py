"""The assembled scores: they notice what is wrong with images, and scores.json is what it says."""

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers import data
from helpers import scores as evaluate
from helpers.scores import measures as scores
from helpers.scores import network as features
from helpers.scores import tables
from workflow import compare

OPTIONS = {"n": 300, "sampling_seeds": 1}


TRAIN, TEST = 4000, 1000


@pytest.fixture(scope="module")
def digits():
    """Some stand-in digits; called verified, so that the pinned network looks at them."""
    full = data.load("MNIST", "sample")
    train, test = (
        data.Images(part.images[:n], part.labels[:n])
        for part, n in ((full.train, TRAIN), (full.test, TEST))
    )
    return full._replace(train=train, test=test, verified=True)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return {**OPTIONS, "cache": tmp_path_factory.mktemp("cache")}


def sampler(part, change=lambda images, rng: images):
    """Samples that are images of a data.Images, changed."""
    images = torch.from_numpy(part.images)

    def sample(n, rng):
        return change(images[torch.randperm(len(images), generator=rng)[:n]], rng)

    return sample


def labeled_sampler(part, share_shuffled):
    """Images of the label that was asked for, but for a share of them."""
    images, labels = torch.from_numpy(part.images), torch.from_numpy(part.labels)

    def sample(wanted, rng):
        random = torch.randint(10, wanted.shape, generator=rng)
        shuffled = torch.rand(wanted.shape, generator=rng) < share_shuffled
        found = torch.where(shuffled, random, wanted)
        chosen = torch.empty_like(found)
        for label in range(10):
            members, places = (labels == label).nonzero().flatten(), found == label
            pick = torch.randint(len(members), (int(places.sum()),), generator=rng)
            chosen[places] = members[pick]
        return images[chosen]

    return sample


def noise(level):
    def change(images, rng):
        added = images + level * torch.randn(images.shape, generator=rng)
        return added.clamp(0, 255).to(torch.uint8)

    return change


def blur(width):
    kernel = torch.ones(1, 1, width, width) / width**2

    def change(images, rng):
        smooth = F.conv2d(images[:, None].float(), kernel, padding=width // 2)
        return smooth[:, 0].round().to(torch.uint8)

    return change


def values(result):
    return {key: entry["value"] for key, entry in result["scores"].items()}


def test_new_real_images_score_like_the_floor(digits, options):
    result = evaluate.gan(
        digits,
        sampler(digits.train),
        n=300,
        sampling_seeds=3,
        seed=5,
        **{"cache": options["cache"]},
    )
    for key in ("fid", "precision", "recall", "coverage", "diversity", "parzen"):
        entry = result["scores"][key]
        near, far = abs(entry["value"] - entry["floor"]), abs(entry["value"] - entry["ceiling"])
        assert near < 0.15 * far, key


@pytest.mark.parametrize("spoil", [[noise(0), noise(40), noise(90)], [blur(1), blur(3), blur(5)]])
def test_more_noise_or_blur_is_worse(digits, options, spoil):
    found = [values(evaluate.gan(digits, sampler(digits.train, s), **options)) for s in spoil]
    for key in ("fid", "kid"):
        assert found[0][key] < found[1][key] < found[2][key]
    for key in ("recall", "coverage"):
        assert found[0][key] > found[1][key] >= found[2][key]


def test_parzen_windows_prefer_a_blur(digits, options):
    """The weakness that is told beside the number (Theis et al. 2016)."""
    plain, smooth = (
        values(evaluate.gan(digits, sampler(digits.train, blur(width)), **options))["parzen"]
        for width in (1, 3)
    )
    assert smooth > plain


def test_shuffled_labels_are_worse(digits, options):
    results = [
        evaluate.cgan(digits, labeled_sampler(digits.train, s), **options) for s in (0, 0.4, 1)
    ]
    found = [values(result) for result in results]
    for key in ("agreement", "gan_train_nn"):
        assert found[0][key] > found[1][key] + 10 > found[2][key] + 20
    assert found[0]["agreement"] > 90 and found[2]["agreement"] < 25
    counts = np.array(results[0]["confusion"])
    assert counts.sum() == 300 and (counts.sum(1) == 30).all()
    assert 100 * counts.trace() / 300 == pytest.approx(found[0]["agreement"])
    assert results[0]["per_class"]["3"] == pytest.approx(100 * counts[3, 3] / 30)


def test_one_class_and_one_image_are_noticed(digits, options):
    zeros = digits.train._replace(images=digits.train.images[digits.train.labels == 0])
    one_class = values(evaluate.gan(digits, sampler(zeros), **options))
    assert one_class["uneven"] > 0.85 and one_class["rarest"] == 0
    assert one_class["least_diverse"] == 0 and one_class["coverage"] < 0.2
    same = digits.train._replace(images=np.repeat(digits.train.images[:1], 300, 0))
    one_image = values(evaluate.gan(digits, sampler(same), **options))
    assert one_image["diversity"] < 1e-6 and one_image["recall"] == 0


def test_scores_repeat_themselves_and_the_seed_matters(digits, options):
    def text(seed, cache=options["cache"]):
        choices = options | {"seed": seed, "cache": cache, "sampling_seeds": 2}
        result = evaluate.gan(digits, sampler(digits.train), **choices)
        assert result["scores"]["fid"]["std"] > 0  # the draws differ
        return json.dumps(result | {"seconds": 0, "seed": 0}, allow_nan=False)

    assert text(0) == text(0) != text(1)
    assert text(0) == text(0, cache=None)  # what is kept is what would be computed


def test_kept_floors_are_used_and_damaged_ones_made_again(digits, tmp_path, monkeypatch):
    options = {**OPTIONS, "cache": tmp_path}
    first = evaluate.gan(digits, sampler(digits.train), **options)
    files = sorted(tmp_path.iterdir())
    stamps = [path.stat().st_mtime_ns for path in files]
    assert evaluate.gan(digits, sampler(digits.train), **options)["scores"] == first["scores"]
    assert [path.stat().st_mtime_ns for path in files] == stamps
    files[0].write_bytes(files[0].read_bytes()[:-2] + b"9}")
    assert evaluate.gan(digits, sampler(digits.train), **options)["scores"] == first["scores"]


def test_every_score_says_what_it_is(digits, options):
    result = evaluate.cgan(
        digits, labeled_sampler(digits.train, 0), **options | {"sampling_seeds": 2}
    )
    needed = {"group", "label", "unit", "better", "digits", "value", "std", "spread"}
    needed |= {"floor", "ceiling", "protocol"}
    for key, entry in result["scores"].items():
        assert needed <= set(entry), key
        assert not re.search(r"[{}]", entry["protocol"]), key
        assert isinstance(entry["value"], float) and entry["better"] in ("↓", "↑", "≈")
    assert features.SHA256["MNIST"][:12] in tables.protocol(result)
    for group in ("samples", "classes", "parzen", "labels"):
        columns, rows = tables.rows(result, group)
        assert rows and all(len(row) == len(columns) == 5 for row in rows)
        assert all(isinstance(cell, str) for row in rows for cell in row)
        assert len(tables.protocols(result, group)[1]) == len(rows)
    assert tables.rows(result, "likelihood")[1] == []
    fid = next(row for row in tables.rows(result, "samples")[1] if "FID" in row[0])
    assert (
        fid[1] == f"{result['scores']['fid']['value']:.2f} ± {result['scores']['fid']['std']:.2f}"
    )
    assert len(tables.per_class_rows(result)[1]) == 10


def test_published_parzen_rows_stand_only_beside_their_own_protocol(digits, options):
    result = evaluate.gan(digits, sampler(digits.train), **options)
    assert len(tables.parzen_rows(result)[1]) == 2
    rows = tables.parzen_rows(result | {"n": 10_000})[1]
    assert ("GAN", "225.0 ± 2.0", "Goodfellow et al. 2014, Table 1") in rows and len(rows) == 7


def test_the_best_linear_vae_reaches_its_yardstick(digits, options):
    pca = scores.fit_pca(data.to_unit(digits.train.images).flatten(1), 16)
    mean, axes, values_ = (part.float() for part in pca)
    along = values_[:16]
    scale = (along - 0.5).clamp(min=0).sqrt()

    def encode(x):  # the exact posterior of probabilistic PCA with variance 1/2
        mu = (x - mean) @ axes * scale / along.clamp(min=0.5)
        return mu, (0.5 / along.clamp(min=0.5)).log().expand_as(mu)

    def decode(z):
        return z * scale @ axes.T + mean

    result = evaluate.vae(digits, sampler(digits.train), encode, decode, **options)
    table = result["scores"]
    for key in ("neg_elbo", "neg_iwae", "neg_iwae_1000", "loss"):
        assert table[key]["value"] == pytest.approx(table[key]["floor"], abs=0.2), key
    assert table["loss"]["value"] == pytest.approx(table["recon"]["value"] + table["kl"]["value"])
    assert table["neg_elbo"]["value"] - table["loss"]["value"] == pytest.approx(
        392 * np.log(np.pi)
    )
    assert table["active"]["value"] == (along > 0.5).sum() == table["active"]["floor"]
    assert sum(table["kl"]["per_latent"]) == pytest.approx(table["kl"]["value"], rel=1e-5)
    assert table["recon_mean"]["floor"] < table["recon_mean"]["value"] < table["recon"]["value"]
    assert (
        table["fid_recon"]["floor"] < table["fid_recon"]["value"] < table["fid_recon"]["ceiling"]
    )


def test_a_vae_needs_no_test_labels(digits, options):
    bare = digits._replace(test=digits.test._replace(labels=None))

    def encode(x):
        return x[:, :2], x[:, :2]

    result = evaluate.vae(
        bare, sampler(digits.train), encode, lambda z: z[:, :1].expand(-1, 784), **options
    )
    assert result["scores"]["kl"]["value"] >= 0
    with pytest.raises(ValueError, match="test images need labels"):
        evaluate.cgan(bare, labeled_sampler(digits.train, 0), **options)


def test_memorization_finds_copies(digits, tmp_path):
    chosen = [5, 77, 3000]
    copies = evaluate.memorization(digits, digits.train.images[chosen], cache=tmp_path)
    assert copies["index"] == chosen
    assert copies["distance"] == [0, 0, 0] and copies["percentile"] == [0, 0, 0]
    real = evaluate.memorization(digits, digits.test.images[:100], cache=tmp_path)
    assert 40 < np.mean(real["percentile"]) < 60 and max(real["percentile"]) > 90


def test_copies_of_training_images_show_in_the_unseen_share(digits, options):
    copied = evaluate.gan(digits, sampler(digits.train), **options)["scores"]["unseen"]
    new = evaluate.gan(digits, sampler(digits.test), **options)["scores"]["unseen"]
    assert copied["value"] == 100 and new["value"] == 0
    assert copied["floor"] == pytest.approx(100 * TRAIN / (TRAIN + TEST))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda n, rng: torch.zeros(n, 28, 28), r"sample must return uint8 \(300, 28, 28\), got"),
        (lambda n, rng: torch.zeros(n, 784, dtype=torch.uint8), r"got torch.uint8 \(300, 784\)"),
    ],
)
def test_a_sampler_that_returns_something_else_is_refused(digits, options, bad, message):
    with pytest.raises(ValueError, match=message):
        evaluate.gan(digits, bad, **options)


def test_bad_counts_are_refused(digits):
    with pytest.raises(ValueError, match="^n must be 50 or more images, got 10"):
        evaluate.set_out(digits, n=10)
    few = digits._replace(train=data.Images(digits.train.images[:40], digits.train.labels[:40]))
    with pytest.raises(ValueError, match="need 56 or more training .* got 40 and 1000"):
        evaluate.set_out(few)
    with pytest.raises(ValueError, match="^sampling_seeds must be 1 or more, got 0"):
        evaluate.set_out(digits, sampling_seeds=0)


def test_classroom_and_gan_train(digits, monkeypatch):
    def taught(data, images, labels, steps, seed, device):  # seconds instead of minutes
        _, index = scores.nearest(data.test.images[:200], images[: 400 + seed])
        return 100 * np.mean(labels[index].numpy() == data.test.labels[:200])

    monkeypatch.setattr(evaluate, "_taught", taught)
    sample, deaf = labeled_sampler(digits.train, 0), labeled_sampler(digits.train, 1)
    rows = evaluate.classroom(digits, sample, shares=(0.05, 1.0), repeats=2)
    assert [row["images"] for row in rows] == [200, 4000]
    assert all(len(row["real"]) == len(row["mixed"]) == 2 for row in rows)
    assert len(tables.classroom_rows(rows)[1]) == 2
    misled = evaluate.classroom(digits, deaf, shares=(0.05,), repeats=2)
    assert np.mean(rows[0]["mixed"]) > np.mean(misled[0]["mixed"])
    assert rows[0]["real"] == misled[0]["real"]
    good, bad = (evaluate.gan_train(digits, s, count=500, repeats=2) for s in (sample, deaf))
    assert np.mean(good["generated"]) > 60 > np.mean(bad["generated"]) + 30
    assert good["real"] == bad["real"] and good["count"] == 500
    assert tables.gan_train_rows(good)[1][0][0] == "real"


def test_a_taught_network_learns(digits):
    pair = torch.from_numpy(digits.train.images[:500]), torch.from_numpy(digits.train.labels[:500])
    small = digits._replace(test=data.Images(digits.test.images[:200], digits.test.labels[:200]))
    assert evaluate._taught(small, *pair, 40, 0, "cpu") > 50


@pytest.mark.fault(91)
def test_compare_prints_runs_side_by_side(digits, options, tmp_path, capsys):
    for name, level in (("good", 0), ("bad", 60)):
        (tmp_path / name).mkdir()
        result = evaluate.gan(digits, sampler(digits.train, noise(level)), **options)
        evaluate.save(tmp_path / name, result)
    runs = [str(tmp_path / "good"), str(tmp_path / "bad" / "scores.json")]
    assert compare.main(runs) == 0
    lines = capsys.readouterr().out.splitlines()
    fid = next(line for line in lines if "FID" in line).split()
    assert fid[-2] != "*" and "*" in fid and fid[-1] == "↓"
    assert not any("do not compare" in line for line in lines)

    changed = json.loads((tmp_path / "bad" / "scores.json").read_text())
    changed["n"] = 999
    (tmp_path / "bad" / "scores.json").write_text(json.dumps(changed))
    assert compare.main(runs) == 0
    assert "different numbers of images: 300, 999; do not compare" in capsys.readouterr().out

    path = tmp_path / "bad" / "scores.json"
    for left_out in ("network", "data", "n"):
        kept = {key: value for key, value in changed.items() if key != left_out}
        path.write_text(json.dumps(kept))
        assert compare.main(runs) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"{path}: not the scores of a run") and left_out in error
    text = json.dumps(changed)
    for place in range(0, len(text), 97):  # damaged anywhere: a table of it, or one line
        for damaged in (text[:place], text[:place] + "\x7f" + text[place + 1 :],
                        text[:place] + "0" + text[place + 1 :]):  # fmt: skip
            path.write_text(damaged)
            if compare.main(runs) != 0:
                error = capsys.readouterr().err
                assert error.startswith(f"{path}: ") and error.count("\n") == 1
    for number in ("NaN", "Infinity", "-Infinity"):
        path.write_text(text.replace('"n": 999', f'"n": {number}'))
        assert compare.main(runs) == 2
        assert capsys.readouterr().err == f"{path}: not JSON ({number} is no number)\n"


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not JSON"),
        ("[" * 5000, "not JSON"),
        ('{"scores": NaN}', "not JSON (NaN is no number)"),
        ('{"format": FORMAT, "scores": {"fid": 3}}', "not the scores of a run"),
        ('{"format": FORMAT, "scores": []}', "not the scores of a run"),
        ("[]", "not the scores"),
        ('{"scores": {}}', "format None"),
    ],
)
def test_compare_names_a_bad_file(tmp_path, capsys, content, message):
    if content is not None:
        content = content.replace("FORMAT", str(tables.FORMAT))
        (tmp_path / "scores.json").write_text(content)
    assert compare.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(str(tmp_path / "scores.json")) and message in error
    assert error.count("\n") == 1
