"""Verdicts: spoiled runs are called what they are, good ones healthy; sentences follow numbers."""

import copy
import inspect
import re
from types import SimpleNamespace

import pytest
import torch

from helpers.scores import tables, verdict

# What the scores and the records said of real runs (MNIST, Fashion-MNIST, 2,000 samples)
EVEN = [0.1] * 10


def entry(key, value, floor=None, ceiling=None, std=None, **more):
    more |= {"digits": tables.SPECS[key].digits, "std": std}
    return {"value": value, "floor": floor, "ceiling": ceiling, **more}


def result(shares=EVEN, real=EVEN, fid=12.0, **scores):
    scores = {
        "fid": (fid, 0.6, 171.0),
        "precision": (0.8, 0.95, 0.0),
        "recall": (0.7, 0.93, 0.0),
        "density": (1.1, 1.0, 0.0),
        "coverage": (0.8, 0.96, 0.0),
        "diversity": (0.9, 1.0, 0.0),
        "unseen": (86.0, 85.7, 100.0, 1.5),
    } | scores
    return {
        "scores": {key: entry(key, *values) for key, values in scores.items()},
        "classes": [str(digit) for digit in range(len(shares))],
        "class_shares": shares,
        "real_shares": real,
        "data": {"name": "MNIST", "train": 60_000},
        "n": 2000,
        "draws": 3,
    }


def cgan_result(agreement=93.0, **more):
    found = result(agreement=(agreement, 99.6, 10.0), gan_train_nn=(90.0, 95.0, 10.0), **more)
    found["per_class"] = {str(digit): agreement for digit in range(9)} | {"9": agreement - 5}
    return found


def gan_record(d_real=0.8, d_fake=0.2, grad=2.0, loss_d=0.6, epoch=1):
    return SimpleNamespace(
        d_real=d_real,
        d_fake=d_fake,
        grad_d=grad,
        grad_g=3.0,
        loss_d=loss_d,
        loss_g=1.5,
        epoch=epoch,
    )


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
        **more,
    )
    found["scores"]["kl"]["per_latent"] = [kl / 16] * 16
    return found


def vae_record(recon=20.3, kl=7.3, test_recon=19.8, test_kl=7.3, epoch=1):
    return SimpleNamespace(recon=recon, kl=kl, test_recon=test_recon, test_kl=test_kl, epoch=epoch)


def test_good_runs_are_healthy_and_the_text_says_why():
    found = verdict.gan([gan_record()], result(), changes=[5.0, 3.0])
    assert found.healthy and found.text.startswith("**Healthy:** All 10 classes appear.")
    assert "D(x) is 0.80 and D(G(z)) 0.20" in found.text
    found = verdict.gan([gan_record()], cgan_result())
    assert found.healthy and "93.0% of the samples show the class" in found.text
    found = verdict.vae([vae_record()], vae_result())
    assert found.healthy and "14 of 16 latents" in found.text and "27.5" in found.text
    sure = verdict.gan([gan_record(0.99, 0.01)], result())
    assert sure.healthy and "hardly ever in doubt" in sure.text
    many = verdict.gan([gan_record()], result(fid=6.0, diversity=(1.76, 1.0, 0.0)))
    assert many.healthy and "malformed" in many.text
    assert "too few" in verdict.gan([gan_record()], result(diversity=(None, 1.0, 0.0))).text


@pytest.mark.parametrize(
    ("scored", "sign"),
    [
        # one class, as a conditional GAN at 20 times the rate ended
        (
            {"fid": 248.3, "diversity": (0.05, 1, 0), "shares": [0.84, 0.16] + [0] * 8},
            "84% of the",
        ),
        ({"shares": [0.6] + [0.4 / 9] * 9}, "60% of the"),
        ({"diversity": (0.1, 1, 0)}, "vary 0.10 times as much"),
    ],
)
def test_collapsed_gans_are_called_collapsed(scored, sign):
    found = verdict.gan([gan_record()], result(**scored))
    assert found.state == "collapsed" and not found.healthy
    assert sign in found.text and "Try a learning rate" in found.text


def test_noise_is_collapse_only_if_the_discriminator_is_sure():
    assert verdict.gan([gan_record()], result(fid=53.0)).state == "undertrained"
    assert verdict.gan([gan_record(1.0, 0.0)], result(fid=120.0)).state == "collapsed"
    still = verdict.gan([gan_record()], result(fid=120.0), changes=[4.0, 0.1])
    assert still.state == "undertrained" and "larger learning rate" in still.text
    # A conditional GAN after its first epoch, at the usual rate
    early = cgan_result(20.0, fid=100.2, diversity=(0.6, 1, 0), shares=[0.54] + [0.46 / 9] * 9)
    assert verdict.gan([gan_record(0.67, 0.38)], early).state == "undertrained"


def test_a_short_run_is_not_judged():
    bad = result(fid=160.0, diversity=(0.01, 1.0, 0.0))
    found = verdict.gan([gan_record(1.0, 0.0)], bad, steps=63)
    assert found.state == "too short" and "63 steps" in found.text and not found.healthy
    assert verdict.gan([gan_record(1.0, 0.0)], bad, steps=200).state == "collapsed"
    short = vae_result(recon=68.0, active=0) | {"data": {"train": 2000}}
    assert verdict.vae([vae_record()], short).state == "too short"
    assert verdict.vae([vae_record()] * 5, short).state == "collapsed"


def test_lost_classes_and_ignored_labels_are_named():
    shares = [0.12] * 8 + [0.03, 0.01]
    for found in (
        verdict.gan([gan_record()], result(shares=shares)),
        verdict.vae([vae_record()], vae_result(shares=shares)),
    ):
        assert found.state == "classes lost" and "“9”" in found.text and "“8”" not in found.text
    # a class that is rare in the data is not lost
    assert verdict.gan([gan_record()], result(shares=shares, real=shares)).healthy
    three = result(shares=[0.5, 0.45, 0.05], real=[1 / 3] * 3)
    assert verdict.gan([gan_record()], three).state == "classes lost"
    found = verdict.gan([gan_record()], cgan_result(48.0))
    assert found.state == "labels ignored"
    assert "Only 48%" in found.text and "“9” is obeyed in 43%" in found.text


@pytest.mark.parametrize(
    ("scored", "state"),
    [
        ({"active": 0, "kl": 0.0, "recon": 68.0}, "collapsed"),
        ({"recon": 65.0}, "collapsed"),
        ({"active": 6, "kl": 5.2, "recon": 35.2}, "collapsed"),  # 20 times the learning rate
        ({"recon": 35.2}, "undertrained"),
    ],
)
def test_spoiled_vaes(scored, state):
    found = verdict.vae([vae_record()], vae_result(**scored))
    assert found.state == state and "Try" in found.text


def test_a_vae_that_gets_worse_or_learns_by_heart():
    worse = verdict.vae([vae_record(), vae_record(test_recon=29.0, epoch=2)], vae_result())
    assert worse.state == "getting worse" and "after epoch 1" in worse.text
    assert verdict.vae([vae_record(recon=15.0)], vae_result()).state == "overfitting"


@pytest.mark.parametrize(
    ("record", "sign"),
    [
        (gan_record(), ""),
        (gan_record(0.99, 0.01), "hardly any signal"),
        (gan_record(0.5, 0.5), "no difference"),
        (gan_record(grad=166.0), "gradient norms 166 (D)"),
        (vae_record(), ""),
        (vae_record(test_kl=0.01), "switched off"),
    ],
)
def test_warnings_while_training(record, sign):
    found = verdict.warning([record])
    assert (sign in found) if sign else found == ""
    assert "27.1" in verdict.warning([vae_record(), vae_record(test_recon=40.0)])


# --- Sentences -------------------------------------------------------------------------------


def test_a_vaes_sentences_name_the_winner():
    text = verdict.vae_likelihood(vae_result())
    assert "27.50 nats" in text and "The VAE wins in the loss, by 5.70 nats." in text
    assert "The linear model (PCA) wins in the squared error of the decoded mean, by 2.00." in text
    assert "The VAE wins in −ELBO with its best variance, by 20.00 nats." in text
    assert "best variance" not in verdict.vae_likelihood(vae_result(best=(-400.0, None)))
    text = verdict.vae_likeness(vae_result(precision=(0.9, 0.95, 0.7)))
    assert "FID of 30.00" in text and "shuffled pixels reach 0.700" in text
    abstract = verdict.vae_abstract([vae_record()], vae_result())
    assert "after 1 epoch," in abstract and "27.50" in abstract


def test_the_losses_are_told_from_the_second_epoch_on():
    one = verdict.gan_losses([gan_record(loss_d=0.2)])
    assert "wins" in one and "From epoch" not in one
    history = [gan_record(loss_d=loss, epoch=1 + i) for i, loss in enumerate((0.5, 0.7, 1.3, 1.2))]
    text = verdict.gan_losses(history)
    assert "From epoch 2 to 4" in text and "highest, 1.30, in epoch 3" in text
    assert "close to guessing" in text and "wins" not in text
    assert "From epoch" not in verdict.gan_losses(history[:2])


def test_a_discriminator_that_remembers_is_told_from_one_that_does_not():
    torch.manual_seed(0)
    logits = {name: torch.randn(500) for name in ("training", "test", "generated")}
    assert "no difference" in verdict.judged(logits)
    assert "remembers" in verdict.judged(logits | {"training": logits["training"] + 1})


def test_the_most_skewed_classes_are_named_and_chance_is_not():
    shares = [0.07, *[0.1] * 6, 0.13, 0.1, 0.1]
    text = verdict.gan_likeness(result(shares=shares))
    assert "“7” is drawn too often: 13.0%" in text and "“0” is drawn too rarely: 7.0%" in text
    assert "drawn too" not in verdict.gan_likeness(result(shares=[0.105, 0.095] + [0.1] * 8))
    assert "“7”" in verdict.gan_abstract([gan_record()] * 2, result(shares=shares))


def test_copies_are_counted():
    near = {"distance": [0, 3.1, 4.2], "percentile": [0, 40, 60]}
    text = verdict.copies(near, result())
    assert "1 of the 3 images are copies" in text and "no more than chance" in text
    text = verdict.copies(near | {"distance": [1, 2, 3]}, result(unseen=(99.0, 85.7, 100, 0.4)))
    assert "None of the 3" in text and "40%" in text and "nearer to the training images" in text


def test_a_conditional_gans_sentences():
    text = verdict.labels(cgan_result())
    assert "“0” is obeyed best, in 93.0%" in text and "“9” worst, in 88.0%" in text
    assert "errs on 0.4%" in text
    assert "recall is 0.700; real images have 0.930" in verdict.variety(cgan_result())
    assert verdict.variety(cgan_result(recall=(0.92, 0.93, 0.0))) == ""
    lessons = [
        {"share": 0.1, "images": 6000, "real": [95.0, 95.2], "mixed": [96.0, 96.2]},
        {"share": 1.0, "images": 60000, "real": [98.0, 98.0], "mixed": [97.5, 97.5]},
    ]
    assert "+1.00 with 10%, −0.50 with 100%" in verdict.classroom(lessons)
    assert "fully connected" in verdict.cgan_abstract([gan_record()], cgan_result())


def test_sentences_type_no_number_and_know_no_data_set_and_change_nothing():
    source = inspect.getsource(verdict).split("# --- A VAE")[1]
    prose = re.sub(r"\{[^{}]*\}", "", " ".join(re.findall(r'f?"[^"]*"', source)))
    assert re.findall(r"\d+", prose.replace("ln 4", "")) == []
    assert not re.search(r"\b(digit|garment|MNIST|linear conditional)\b", prose)
    scored = cgan_result()
    before = copy.deepcopy(scored)
    verdict.gan([gan_record()], scored)
    verdict.variety(scored)
    assert scored == before
