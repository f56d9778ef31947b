"""The parameters of the three notebooks: names, defaults, ranges.

A notebook's `parameters` cell repeats the defaults below (a test compares them); the cell after it
builds one of these frozen dataclasses, whose construction is the check. Imports no torch, so that
workflow.run can refuse a bad value before a kernel starts.
"""

import reprlib
from dataclasses import asdict, dataclass, fields

DATASETS = (
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "QMNIST",
    "EMNIST-letters",
    "EMNIST-digits",
)
SOURCES = ("auto", "csv", "idx", "download", "sample")
DEVICES = ("auto", "cpu", "cuda", "mps")

# What a notebook needs beside its config: where things come from and go to.
SURROUNDINGS = {"source": "auto", "data_dir": "", "out_dir": "", "device": "auto", "resume": True}

# A finished run may go on to more epochs and may be shown differently; nothing else may differ.
FREE_ON_RESUME = ("epochs", "snapshot_epochs", "score_samples", "study", "classroom")


@dataclass(frozen=True)
class VAEConfig:
    """Parameters of one VAE run; the checkpoint stores exactly these."""

    dataset: str = "FashionMNIST"
    seed: int = 0
    train_limit: int = 0  # 0 means every training image
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-3
    hidden_dim: int = 64
    latent_dim: int = 16
    beta: float = 1.0  # weight of the KL term
    score_samples: int = 10_000
    study: bool = False  # also train with other seeds and other settings

    def __post_init__(self):
        check_common(self)
        check(self, "hidden_dim", int, 1, 8192)
        check(self, "latent_dim", int, 1, 1024)
        check(self, "beta", float, 0.0, 1e3)


@dataclass(frozen=True)
class GANConfig:
    """Parameters of one DCGAN run; the checkpoint stores exactly these."""

    dataset: str = "MNIST"
    seed: int = 0
    train_limit: int = 0
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    lr_half_life: float = 0.0  # epochs in which the learning rate halves; 0: it stays
    ema_decay: float = 0.0  # of the average over the generator's steps; 0: no average
    label_smoothing: float = 0.0  # real images are called real with probability 1 minus this
    batchnorm_affine: bool = True  # BatchNorm with a learned scale and shift
    latent_dim: int = 200  # length of z, each element ~ U(-1, 1)
    base_channels: int = 64  # feature maps at 14x14; twice as many at 7x7, four times at 4x4
    snapshot_epochs: tuple = (16, 22, 34)  # the epochs of Figures 3, 4, 5
    score_samples: int = 10_000
    study: bool = False  # also train with other seeds and other settings

    def __post_init__(self):
        check_common(self)
        check_adam(self)
        check(self, "latent_dim", int, 1, 4096)
        check(self, "base_channels", int, 1, 512)
        check(self, "label_smoothing", float, 0.0, 0.5)
        check_bool(self, "batchnorm_affine")
        check_snapshots(self)


@dataclass(frozen=True)
class CGANConfig:
    """Parameters of one conditional GAN run; the checkpoint stores exactly these."""

    dataset: str = "MNIST"
    seed: int = 0
    train_limit: int = 0
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 5e-4
    beta1: float = 0.5
    beta2: float = 0.999
    lr_half_life: float = 0.0  # epochs in which the learning rate halves; 0: it stays
    ema_decay: float = 0.0  # of the average over the generator's steps; 0: no average
    latent_dim: int = 100  # length of z, each element ~ U(-1, 1)
    hidden_dims: tuple = (256, 512)  # of the generator; the discriminator has them reversed
    num_d_steps: int = 2  # discriminator steps for each generator step
    score_samples: int = 10_000
    study: bool = False  # also train with other seeds and other settings
    classroom: bool = False  # also train classifiers on real and generated images

    def __post_init__(self):
        check_common(self)
        check_adam(self)
        check(self, "latent_dim", int, 1, 4096)
        check(self, "num_d_steps", int, 1, 100)
        check_ints(self, "hidden_dims", 1, 8, 1, 8192)
        check_bool(self, "classroom")


CONFIGS = {"01_vae": VAEConfig, "02_gan": GANConfig, "03_cgan": CGANConfig}


def defaults(notebook):
    """{name: value} of every parameter of a notebook ("02_gan"), sequences as lists."""
    own = {name: _listed(value) for name, value in asdict(CONFIGS[notebook]()).items()}
    return own | SURROUNDINGS


def check_run(notebook, parameters):
    """Raise ValueError for a value that the notebook would refuse; unknown names too."""
    known = defaults(notebook)
    for name in parameters:
        if name not in known:
            raise ValueError(f"{name}: no parameter of {notebook}; known: {', '.join(known)}")
    config = CONFIGS[notebook]
    names = [field.name for field in fields(config)]
    config(**{name: parameters[name] for name in names if name in parameters})
    check_surroundings(**(SURROUNDINGS | {k: v for k, v in parameters.items() if k not in names}))


def check_surroundings(source, data_dir, out_dir, device, resume):
    """Raise ValueError for a value outside the allowed ones of SURROUNDINGS."""
    check_choice("source", source, SOURCES)
    check_choice("device", device, DEVICES)
    for name, value in (("data_dir", data_dir), ("out_dir", out_dir)):
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"{name} must be a path as text, got {shown(value)}")
    if type(resume) is not bool:
        raise ValueError(f"resume must be True or False, got {shown(resume)}")


def check_common(config):
    """The parameters that all three models have."""
    check_choice("dataset", config.dataset, DATASETS)
    check(config, "seed", int, 0, 2**32 - 1)
    check(config, "train_limit", int, 0, 10_000_000)
    check(config, "epochs", int, 1, 100_000)
    check(config, "batch_size", int, 2, 100_000)
    check(config, "learning_rate", float, 1e-8, 1.0)
    check(config, "score_samples", int, 50, 100_000)
    check_bool(config, "study")
    if config.train_limit and config.batch_size > config.train_limit:
        raise ValueError(
            f"batch_size must be at most train_limit ({config.train_limit}), "
            f"got {config.batch_size}"
        )


def check_adam(config):
    """Adam's two decay rates, that of the learning rate, and that of the averaged generator."""
    check(config, "beta1", float, 0.0, 0.9999)
    check(config, "beta2", float, 0.0, 0.999999)
    check(config, "lr_half_life", float, 0.0, 100_000.0)
    check(config, "ema_decay", float, 0.0, 0.99999)


def check_snapshots(config):
    """Three ascending epochs, one each for Figures 3, 4 and 5."""
    check_ints(config, "snapshot_epochs", 3, 3, 1, 100_000)
    if list(config.snapshot_epochs) != sorted(set(config.snapshot_epochs)):
        raise ValueError(f"snapshot_epochs must ascend, got {list(config.snapshot_epochs)}")


def check(config, name, kind, low, high):
    """Raise ValueError unless the field is of that kind and within [low, high]."""
    value = getattr(config, name)
    right = type(value) is kind or (kind is float and type(value) is int)  # True is not an int
    if not right or not low <= value <= high:  # NaN fails the comparison
        raise ValueError(f"{name} must be {kind.__name__} in [{low}, {high}], got {shown(value)}")


def check_bool(config, name):
    """Raise ValueError unless the field is True or False."""
    if type(getattr(config, name)) is not bool:
        raise ValueError(f"{name} must be True or False, got {shown(getattr(config, name))}")


def check_choice(name, value, allowed):
    """Raise ValueError unless the value is one of the allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")


def check_ints(config, name, fewest, most, low, high):
    """Raise ValueError unless the field is a sequence of ints; store it as a tuple."""
    value = getattr(config, name)
    right = isinstance(value, (list, tuple)) and fewest <= len(value) <= most
    if not right or not all(type(item) is int and low <= item <= high for item in value):
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise ValueError(f"{name} must be {count} ints in [{low}, {high}], got {shown(value)}")
    object.__setattr__(config, name, tuple(value))  # a notebook passes a list; keep it hashable


def shown(value):
    """A value for a message: in one line of some 80 characters, whatever it is."""
    try:
        return _brief.repr(value).replace("\n", " ")
    except ValueError:
        return "a number of more than 4,300 digits"  # which Python refuses to write out


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxlong = _brief.maxother = 80


def _listed(value):
    return list(value) if isinstance(value, tuple) else value
