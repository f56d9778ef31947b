"""Verdicts: spoiled runs are called what they are, good ones healthy; sentences follow numbers."""

import json
from types import SimpleNamespace

import pytest
import torch

from helpers.scores import tables, verdict

EVEN = [0.1] * 10


def result(shares=EVEN, real=EVEN, fid=12.0, **scores):
    """What matters here of scores.json, from {score: (value, floor, ceiling[, std])}."""
    scores = {
        "fid": (fid, 0.6, 171.0),
        "precision": (0.8, 0.95, 0.0),
        "recall": (0.9, 0.93, 0.0),
        "density": (1.1, 1.0, 0.0),
        "coverage": (0.8, 0.96, 0.0),
        "diversity": (0.9, 1.0, 0.0),
        "unseen": (86.0, 85.7, 100.0, 1.5),
    } | scores
    what = "value", "floor", "ceiling", "std"
    return {
        "scores": {
            key: dict(zip(what, numbers, strict=False)) | {"digits": tables.SPECS[key].digits}
            for key, numbers in scores.items()
        },
        "classes": [str(digit) for digit in range(len(shares))],
        "class_shares": shares,
        "real_shares": real,
        "data": {"train": 60_000},
        "n": 2000,
        "draws": 3,
    }


def cgan_result(agreement=93.0, **more):
    found = result(agreement=(agreement, 99.6, 10.0), gan_train_nn=(90.0, 95.0, 10.0), **more)
    return found | {"per_class": {str(digit): agreement for digit in range(9)} | {"9": 88.0}}


def gan_record(d_real=0.8, d_fake=0.2, grad_d=2.0, loss_d=0.6, epoch=1):
    return SimpleNamespace(**locals(), grad_g=3.0, loss_g=1.5)


def vae_result(recon=20.1, kl=7.4, active=14, linear=33.2, best=(-400.0, -380.0), **more):
    found = result(
        recon=(recon, None, 69.0),
        loss=(recon + kl, linear, 69.0),
        kl=(kl, None, 0.0),
        active=(active, 12, 0),
        recon_mean=(18.0, 16.0, 69.0),
        neg_elbo=(476.0, 482.0, 517.0),
        neg_iwae=(475.0, 482.0, 517.0),
        neg_elbo_best=(*best, 0.0),
        fid_recon=(30.0, 0.6, 171.0),
        fid_mixture=(7.0, 0.6, 171.0),
        loss_mixture=(recon + kl - 1.5, None, None),
        **more,
    )
    found["reconstructed_shares"] = [0.1005] * 9 + [0.0955]
    found["mixture"] = result(EVEN, fid=7.0)
    found["scores"]["kl"]["per_latent"] = [kl / 16] * 16
    return found


def vae_record(recon=20.3, test_recon=19.8, test_kl=7.3):
    return SimpleNamespace(**locals(), kl=7.3)


# --- Verdicts --------------------------------------------------------------------------------

SKEWED = [0.12] * 8 + [0.03, 0.01]
ONE = [0.84, 0.16] + [0] * 8


@pytest.mark.parametrize(
    ("record", "found", "state", "sign"),
    [
        (gan_record(), result(), "healthy", "D(x) is 0.80 and D(G(z)) 0.20"),
        (gan_record(), cgan_result(), "healthy", "93.0"),
        (gan_record(0.99, 0.01), result(), "healthy", "hardly ever in doubt"),
        (gan_record(), result(fid=6.0, diversity=(1.76, 1, 0)), "some images malformed", "1.760"),
        (gan_record(), result(recall=(0.7, 0.93, 0.0)), "little variety", "vary less"),
        (gan_record(), result(diversity=(None, 1, 0)), "healthy", "–"),
        # one class, as a conditional GAN at 20 times the rate ended
        (gan_record(), result(ONE, fid=248.3, diversity=(0.05, 1, 0)), "collapsed", "84% of the"),
        (gan_record(), result([0.6] + [0.4 / 9] * 9), "collapsed", "60% of the"),
        (gan_record(), result(diversity=(0.1, 1, 0)), "collapsed", "0.100"),
        # noise is collapse only if the discriminator is sure
        (gan_record(1.0, 0.0), result(fid=120.0), "collapsed", "120.00"),
        (gan_record(), result(fid=53.0), "undertrained", "more epochs"),
        # a conditional GAN after its first epoch, at the usual rate
        (gan_record(0.67, 0.38), cgan_result(20.0, fid=100.2, shares=ONE), "undertrained", ""),
        (gan_record(), result(SKEWED), "classes lost", ": “9”."),
        (gan_record(), result(SKEWED, SKEWED), "healthy", ""),  # rare in the data, too
        (gan_record(), result([0.5, 0.45, 0.05], [1 / 3] * 3), "classes lost", "“2”"),
        (gan_record(), cgan_result(48.0), "labels ignored", "48.0"),
    ],
)
def test_states_of_a_gan(record, found, state, sign):
    judged = verdict.gan([record], found, changes=[5.0, 3.0])
    assert judged.state == state and sign in judged.text
    assert judged.text.lower().startswith(f"**{state}:**")


@pytest.mark.parametrize(
    ("records", "found", "state"),
    [
        ([vae_record()], vae_result(), "healthy"),
        ([vae_record()], vae_result(active=0, kl=0.0, recon=68.0), "collapsed"),
        ([vae_record()], vae_result(recon=65.0), "collapsed"),
        # 20 times the learning rate
        ([vae_record()], vae_result(active=6, kl=5.2, recon=35.2), "collapsed"),
        ([vae_record()], vae_result(recon=35.2), "undertrained"),
        ([vae_record(), vae_record(test_recon=29.0)], vae_result(), "getting worse"),
        ([vae_record(recon=15.0)], vae_result(), "overfitting"),
        ([vae_record()], vae_result(shares=SKEWED), "classes lost"),
        ([vae_record()], vae_result(recall=(0.004, 0.93, 0.0)), "little variety"),
        ([vae_record()], vae_result(recon=68.0) | {"data": {"train": 2000}}, "too short"),
        ([vae_record()] * 5, vae_result(recon=68.0) | {"data": {"train": 2000}}, "collapsed"),
    ],
)
def test_states_of_a_vae(records, found, state):
    judged = verdict.vae(records, found)
    assert judged.state == state and "latents are active" in judged.text


def test_a_gan_that_stands_still_or_is_too_short():
    still = verdict.gan([gan_record()], result(fid=120.0), changes=[4.0, 0.1])
    assert still.state == "undertrained" and "larger learning rate" in still.text
    short = result(fid=160.0) | {"data": {"train": 2000}}
    assert verdict.gan([gan_record(1.0, 0.0)], short).state == "too short"


@pytest.mark.parametrize(
    ("records", "sign"),
    [
        ([gan_record()], ""),
        ([gan_record(0.99, 0.01)], "hardly any signal"),
        ([gan_record(0.5, 0.5)], "no difference"),
        ([gan_record(grad_d=166.0)], "gradient norms 166 (D)"),
        ([vae_record()], ""),
        ([vae_record(test_kl=0.01)], "switched off"),
        ([vae_record(), vae_record(test_recon=40.0)], "27.1"),
    ],
)
def test_warnings_while_training(records, sign):
    found = verdict.warning(records)
    assert (sign in found) if sign else found == ""


# --- Sentences -------------------------------------------------------------------------------

HISTORY = [gan_record(loss_d=loss, epoch=1 + i) for i, loss in enumerate((0.5, 0.7, 1.3, 0.2))]
NEAR = {"distance": [0, 3.1, 4.2], "percentile": [0, 40, 60]}
FAR = NEAR | {"distance": [1, 2, 3]}
RARE = cgan_result(recall=(0.7, 0.93, 0.0))
OFTEN = [0.07, *[0.1] * 6, 0.13, 0.1, 0.1]


@pytest.mark.parametrize(
    ("text", "signs", "never"),
    [
        (verdict.vae_likelihood(vae_result()), ("27.50 nats", "he VAE is better in", "5.70"), "–"),
        (verdict.vae_likelihood(vae_result(best=(-400.0, None))), (), "best variance"),
        (verdict.vae_likeness(vae_result(precision=(0.9, 0.95, 0.7))), ("0.700",), "–"),
        (
            verdict.vae_draws(vae_result(shares=SKEWED)),
            (
                "least 1.50 say",
                "FID of samples is 7.00 in place of 12.00",
                "“9” is what",
                "1.0% of",
                "9.6% of the reconstructions",
            ),
            "“8”",
        ),
        (verdict.vae_abstract([vae_record()], vae_result()), ("after 1 epoch,",), "epochs,"),
        (verdict.gan_losses(HISTORY), ("From epoch 2 on", "1.30, in epoch 3", "wins"), "epoch 1 "),
        (verdict.gan_losses(HISTORY[:2]), (), "From epoch"),
        # the most skewed classes are named, chance is not
        (
            verdict.gan_likeness(result(OFTEN)),
            ("too often: “7” (13.0%, real 10.0%).", "too rarely: “0” (7.0%"),
            "“3”",
        ),
        (verdict.gan_likeness(result([0.105, 0.095] + [0.1] * 8)), (), "drawn too"),
        (verdict.gan_abstract([gan_record()] * 2, result(SKEWED)), ("rarely: “9” (", "“8”"), "–"),
        (verdict.collapse(result(OFTEN)), ("collapse? No.", "“0” (7.0%"), "missing"),
        (verdict.collapse(result(SKEWED)), ("collapse? Yes, whole classes",), "No."),
        (verdict.collapse(RARE), ("vary less than real ones.",), "? No."),
        (verdict.copies(NEAR, result()), ("1 of the 3", "no more than", "40%"), "None of"),
        (
            verdict.copies(FAR, result(unseen=(99.0, 85.7, 100, 0.4))),
            ("None of the 3", "nearer to the training images"),
            "no more",
        ),
        (verdict.labels(cgan_result()), ("best, in 93.0%", "“9” worst, in 88.0%"), "–"),
        (verdict.variety(RARE), ("recall 0.700 (real images 0.930)",), "–"),
        (verdict.variety(cgan_result()), (), "recall"),
        (
            verdict.variety(cgan_result(recall=(0.7, 0.93, 0.0), density=(0.85, 1.0, 0.0))),
            (),
            "recall",
        ),
        (verdict.cgan_abstract([gan_record()], cgan_result()), ("93.0",), "–"),
    ],
)
def test_sentences_follow_the_numbers(text, signs, never):
    assert all(sign in text for sign in signs) and never not in text, text


def kept(*fids, moved=0, std=0.1):
    """Of epochs 10, 16, 22, 34, 50, as `scores.by_epoch` gives them."""
    epochs = zip(tables.ASKED, fids, strict=False)
    made = [{"epoch": e, "fid": fid, "std": std, "moved": moved} for e, fid in epochs]
    return [row | {"d_real": 0.8, "d_fake": 0.2, "fixed": 16} for row in made]


@pytest.mark.parametrize(
    ("rows", "sign", "never"),
    [
        (kept(3.0, 2.1, 1.6, 1.2), "Every change is more than twice that. ", "10 to"),
        (kept(3.0, 2.1, 1.6, 1.2), "did not come to rest: the FID still fell", "single images"),
        (kept(3.0, 2.1, 1.6, 2.2), "the FID still rose", "fell"),
        (kept(3.0, 2.1, 1.6, 1.55, moved=4), "Of the 16 images of the fixed noise 4", "still"),
        (kept(3.0, 2.1, 1.6, 1.55, moved=4), "after 22: single images did not rest.", "still"),
        (kept(3.0, 2.1, 1.6, 1.55, moved=None), "As a whole the images came to rest.", "fixed"),
        (kept(3.0, 1.6, 1.6, 1.55), "As a whole the images came to rest. Of", "twice"),
        (kept(3.0, 2.6, 1.6, 1.55), "from epoch 16 to 22. ", "Every"),
        (kept(3.0, 2.0), "Every change", "to rest."),  # a shorter run: what there is
        (kept(3.0, 2.0, std=None), "did not", "came to rest."),
        (kept(3.0), "", "FID"),
    ],
)
def test_whether_the_images_came_to_rest(rows, sign, never):
    text = verdict.rest(rows)
    assert sign in text and never not in text, text


def test_a_discriminator_that_remembers_is_told_from_one_that_does_not():
    torch.manual_seed(0)
    logits = {name: torch.randn(500) for name in ("training", "test", "generated")}
    assert "no difference" in verdict.judged(logits)
    assert "remembers" in verdict.judged(logits | {"training": logits["training"] + 1})


@pytest.mark.fault(84)
def test_names_of_classes_are_text_and_no_markup():
    names = ["<b>x</b>", "$x$", "_y_", *"3456789"]
    found = result([0.5, 0.01, 0.01] + [0.48 / 7] * 7) | {"classes": names}
    assert r"too often: “\<b\>x\</b\>” (" in verdict.gan_likeness(found)
    lost = verdict.gan([gan_record()], found).text
    assert r"“\$x\$”, “\_y\_”" in lost
    found = cgan_result() | {"per_class": {"T-shirt/top": 9.0, "<i>": 1.0}}
    text = verdict.labels(found)
    assert "“T-shirt/top” is" in text and r"“\<i\>” worst" in text


def test_the_decoder_is_blamed_for_a_class_that_no_draw_brings():
    found = vae_result(shares=SKEWED)
    assert "it is the decoder" not in verdict.vae_draws(found)
    found["mixture"]["class_shares"] = found["reconstructed_shares"] = SKEWED
    assert "it is the decoder that lacks it" in verdict.vae_draws(found)


def test_no_label_is_best_where_all_are_equal():
    text = verdict.labels(cgan_result() | {"per_class": {"a": 0.0, "b": 0.0}})
    assert text.startswith("Every label is obeyed in 0.0%") and "best" not in text


def test_exercises_expect_what_a_sweep_found(tmp_path):
    runs = [{"setting": name, "seed": seed} for name in ("b", "a") for seed in (0, 1)]
    found = {"agreement": {"mean": 93.04, "std": 0.5}, "fid": {"mean": 2.125, "std": None}}
    table = {
        "given": {"epochs": 6},
        "runs": runs,
        "settings": {"a": found, "b": found},
        "made": [{"data": {"title": "X"}}],
    }
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "table.json").write_text(json.dumps(table))
    head, _, *rows = verdict.expected("s", tmp_path).split("\n")
    assert "2 seeds of each setting on X, `epochs = 6`." in head
    assert [row[:4] for row in rows] == ["- b:", "- a:"]  # in the order of the sweep
    assert rows[0].endswith(" FID 2.12; label agreement 93.0% ± 0.5")
    assert "`other` found is not here" in verdict.expected("other", tmp_path)


def test_the_published_run_is_told_with_its_epochs(tmp_path):
    assert verdict.published("02_gan", tmp_path) == ""
    (tmp_path / "scores.json").write_text(json.dumps({"02_gan": result(fid=1.5)}))
    (tmp_path / "manifest.json").write_text('{"02_gan": {"parameters": {"epochs": 7}}}')
    said = verdict.published("02_gan", tmp_path)
    assert said.startswith("The published run, 7 epochs: FID 1.50 (real images 0.60), recall 0.9")
