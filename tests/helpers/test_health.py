"""Verdicts: spoiled runs are called what they are, good ones healthy."""

import copy
from types import SimpleNamespace

import pytest

from helpers.scores import verdict as health

# What `evaluate` and the records said of real runs (MNIST, Fashion-MNIST, 2,000 samples)
EVEN = [0.1] * 10


def entry(value, floor=None, ceiling=None, **more):
    return {"value": value, "floor": floor, "ceiling": ceiling, **more}


def gan_result(fid=12.0, diversity=0.9, shares=EVEN, agreement=None):
    result = {
        "scores": {
            "fid": entry(fid, 0.6, 171.0),
            "diversity": entry(diversity, 1.0, 0.0),
            "rarest": entry(100 * min(shares), 10.0, 0.0),
        },
        "classes": [str(digit) for digit in range(10)],
        "class_shares": shares,
        "data": {"name": "MNIST"},
    }
    if agreement is not None:
        result["scores"]["agreement"] = entry(agreement, 99.6, 10.0)
        result["per_class"] = {str(digit): agreement for digit in range(9)} | {"9": agreement - 5}
    return result


def gan_record(d_real=0.8, d_fake=0.2, grad_d=2.0, grad_g=3.0):
    return SimpleNamespace(d_real=d_real, d_fake=d_fake, grad_d=grad_d, grad_g=grad_g)


def vae_result(recon=20.1, kl=7.4, active=14, linear=33.2, alone=69.0):
    return {
        "scores": {
            "recon": entry(recon, None, alone),
            "loss": entry(recon + kl, linear, alone),
            "kl": entry(kl, None, 0.0, per_latent=[kl / 16] * 16),
            "active": entry(float(active)),
        },
        "classes": [str(label) for label in range(10)],
        "class_shares": EVEN,
    }


def vae_record(recon=20.3, kl=7.3, test_recon=19.8, test_kl=7.3):
    return SimpleNamespace(recon=recon, kl=kl, test_recon=test_recon, test_kl=test_kl)


def test_good_runs_are_healthy_and_the_text_says_why():
    verdict = health.gan([gan_record()], gan_result(), changes=[5.0, 3.0])
    assert verdict.healthy and verdict.text.startswith("**Healthy:**")
    assert "all 10 classes appear (the rarest in 10.00%" in verdict.text
    assert "D(x) is 0.80 and D(G(z)) 0.20" in verdict.text
    verdict = health.gan([gan_record()], gan_result(agreement=93.0))
    assert verdict.healthy and "93.0% show what was asked for" in verdict.text
    verdict = health.vae([vae_record()], vae_result())
    assert verdict.healthy and "14 of 16 latents" in verdict.text and "27.5" in verdict.text


def test_a_sure_discriminator_alone_is_no_collapse():
    verdict = health.gan([gan_record(0.99, 0.01)], gan_result())
    assert verdict.healthy and "hardly ever in doubt" in verdict.text


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        # one class, as a linear conditional GAN at 20 times the rate ended
        ({"fid": 248.3, "diversity": 0.05, "shares": [0.84, 0.16] + [0] * 8}, "84% of the"),
        ({"shares": [0.6] + [0.4 / 9] * 9}, "60% of the"),
        ({"diversity": 0.1}, "vary 0.10 times as much"),
    ],
)
def test_collapsed_gans_are_called_collapsed(result, sign):
    verdict = health.gan([gan_record()], gan_result(**result))
    assert verdict.state == "collapsed" and not verdict.healthy
    assert sign in verdict.text and "Try a learning rate" in verdict.text


def test_noise_is_collapse_only_if_the_discriminator_is_sure():
    assert health.gan([gan_record()], gan_result(fid=53.0)).state == "undertrained"
    bad = gan_result(fid=120.0)
    assert health.gan([gan_record(1.0, 0.0)], bad).state == "collapsed"
    assert health.gan([gan_record()], bad).state == "undertrained"
    # A linear conditional GAN after its first epoch, at the usual rate
    early = gan_result(fid=100.2, diversity=0.6, shares=[0.54] + [0.46 / 9] * 9, agreement=20.0)
    assert health.gan([gan_record(0.67, 0.38)], early).state == "undertrained"


def test_images_that_stand_still_far_from_the_data_want_a_larger_rate():
    verdict = health.gan([gan_record()], gan_result(fid=120.0), changes=[4.0, 0.1])
    assert verdict.state == "undertrained"
    assert "only 0.10 gray levels" in verdict.text and "larger learning rate" in verdict.text
    assert health.gan([gan_record()], gan_result(), changes=[4.0, 0.1]).healthy


def test_malformed_images_are_mentioned():
    # A DCGAN at 20 times the learning rate: it trains, all classes are there, strokes are broken
    verdict = health.gan([gan_record(0.69, 0.31)], gan_result(fid=6.0, diversity=1.76))
    assert verdict.healthy and "malformed" in verdict.text
    assert verdict.text.startswith("**No collapse:**")


def test_lost_classes_and_ignored_labels_are_named():
    shares = [0.12] * 8 + [0.03, 0.01]
    verdict = health.gan([gan_record()], gan_result(shares=shares))
    assert verdict.state == "classes lost" and "“9”" in verdict.text and "“8”" not in verdict.text
    verdict = health.gan([gan_record()], gan_result(agreement=48.0))
    assert verdict.state == "labels ignored"
    assert "only 48%" in verdict.text and "“9” in 43%" in verdict.text


def test_unknown_diversity_is_said():
    assert "too few samples" in health.gan([gan_record()], gan_result(diversity=None)).text


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({"active": 0, "kl": 0.0, "recon": 68.0}, "collapsed"),
        ({"recon": 65.0}, "collapsed"),
        ({"active": 6, "kl": 5.2, "recon": 35.2}, "collapsed"),  # 20 times the learning rate
        ({"recon": 35.2}, "undertrained"),
    ],
)
def test_spoiled_vaes(result, state):
    verdict = health.vae([vae_record()], vae_result(**result))
    assert verdict.state == state and "Try" in verdict.text


def test_a_vae_that_gets_worse_or_learns_by_heart():
    history = [vae_record(), vae_record(test_recon=29.0)]
    assert health.vae(history, vae_result()).state == "getting worse"
    assert "after epoch 1" in health.vae(history, vae_result()).text
    assert health.vae([vae_record(recon=15.0)], vae_result()).state == "overfitting"


def test_a_vae_says_which_classes_its_samples_lack():
    result = vae_result() | {"class_shares": [0.0] + [1 / 9] * 9}
    assert health.vae([vae_record()], result).text.endswith("among the samples: “0”.")


@pytest.mark.parametrize(
    ("record", "sign"),
    [
        (gan_record(), ""),
        (gan_record(0.99, 0.01), "hardly any signal"),
        (gan_record(0.5, 0.5), "no difference"),
        (gan_record(grad_d=166.0), "gradient norms 166 (D)"),
        (vae_record(), ""),
        (vae_record(test_kl=0.01), "switched off"),
    ],
)
def test_warnings_while_training(record, sign):
    found = health.warning([record])
    assert (sign in found) if sign else found == ""


def test_a_warning_when_the_test_loss_rises():
    assert "27.1" in health.warning([vae_record(), vae_record(test_recon=40.0)])


def test_verdicts_do_not_change_their_arguments():
    result = gan_result(agreement=90.0)
    before = copy.deepcopy(result)
    health.gan([gan_record()], result)
    assert result == before
