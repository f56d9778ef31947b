"""Every bad value of a parameter is refused with its name and itself."""

import math

import pytest

from helpers import params


@pytest.mark.parametrize("notebook", sorted(params.CONFIGS))
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", -3), ("epochs", True), ("epochs", 1.5), ("epochs", "5"),
        ("batch_size", 1), ("batch_size", 10**6), ("batch_size", math.nan),
        ("learning_rate", 0.0), ("learning_rate", math.nan), ("learning_rate", math.inf),
        ("learning_rate", "fast"), ("learning_rate", True),
        ("seed", -1), ("seed", 2**64), ("seed", 1.5),
        ("latent_dim", 0), ("latent_dim", 10**9), ("train_limit", -1),
        ("dataset", "mnist"), ("dataset", 7), ("source", "web"), ("device", "gpu"),
        ("resume", 1), ("out_dir", None), ("data_dir", "a\0b"), ("score_samples", 1),
    ],
)  # fmt: skip
def test_bad_values_are_named(notebook, name, value):
    with pytest.raises(ValueError) as caught:
        params.check_run(notebook, {name: value})
    assert str(caught.value).startswith(name) and repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("notebook", "name", "value"),
    [
        ("01_vae", "hidden_dim", 0), ("01_vae", "beta", -1.0),
        ("02_gan", "beta1", 1.0), ("02_gan", "beta2", 1.0), ("02_gan", "base_channels", 0),
        ("02_gan", "snapshot_epochs", [16, 22]), ("02_gan", "snapshot_epochs", [34, 22, 16]),
        ("02_gan", "snapshot_epochs", [1, True, 3]), ("02_gan", "snapshot_epochs", 16),
        ("03_cgan", "hidden_dims", []), ("03_cgan", "hidden_dims", [0]),
        ("03_cgan", "hidden_dims", [1.5]), ("03_cgan", "num_d_steps", 0),
    ],
)  # fmt: skip
def test_bad_values_of_one_model_are_named(notebook, name, value):
    with pytest.raises(ValueError, match=f"^{name} .*"):
        params.check_run(notebook, {name: value})


def test_an_int_is_a_fine_rate_and_a_list_becomes_a_tuple():
    assert params.VAEConfig(learning_rate=1).learning_rate == 1
    assert params.GANConfig(snapshot_epochs=[1, 2, 3]).snapshot_epochs == (1, 2, 3)


def test_a_batch_larger_than_the_limit_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must be at most train_limit \(10\), got 32"):
        params.check_run("01_vae", {"train_limit": 10})


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="^epoch: no parameter of 02_gan"):
        params.check_run("02_gan", {"epoch": 3})


def test_the_defaults_are_valid():
    for notebook in params.CONFIGS:
        params.check_run(notebook, params.defaults(notebook))
