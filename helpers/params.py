"""The parameters of the three notebooks: names, defaults, ranges.

A notebook's `parameters` cell repeats the defaults below (a test compares them). To make one of
these frozen dataclasses is to check it: nothing is converted but an int where a float is due, and
a refusal is one line of ValueError that begins with the parameter's name. Imports no torch, so
that workflow.run can refuse a bad value before a kernel starts.
"""

import difflib
import hashlib
import json
import re
from dataclasses import asdict
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from helpers import paths

DATASETS = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST-letters", "EMNIST-digits")
SOURCES = ("auto", "csv", "idx", "download", "sample")
DEVICES = ("auto", "cpu", "cuda", "mps")

# A finished run may go on to more epochs and may be shown differently; nothing else may differ.
FREE_ON_RESUME = ("epochs", "snapshot_epochs", "score_samples")

# A network's: with a second one, Adam's moments of both, and an average, its checkpoint stays
# below the 2 GiB that helpers.checkpoint reads.
MOST_WEIGHTS = 60_000_000


def between(kind, low, high):
    """The type of a number in [low, high], and so finite; a refusal says the description."""
    says = f"{kind.__name__} in [{low}, {high}]"
    return Annotated[kind, Field(ge=low, le=high, description=says)]


def one_of(*texts):
    return Annotated[Literal[texts], Field(description=f"one of {', '.join(texts)}")]


def several(fewest, most, low, high):
    """The type of a tuple of ints in [low, high]; a notebook's list becomes one."""
    says = f"{fewest}{f' to {most}' if most > fewest else ''} ints in [{low}, {high}]"
    length = Field(min_length=fewest, max_length=most, description=says)
    listed = BeforeValidator(lambda value: tuple(value) if type(value) is list else value)
    return Annotated[tuple[between(int, low, high), ...], length, listed]


Dataset = one_of(*DATASETS)
Switch = Annotated[bool, Field(description="True or False")]
Folder = Annotated[str, Field(pattern=r"^[^\x00]*$", description="a path as text")]
Seed = between(int, 0, 2**32 - 1)
Limit = between(int, 0, 10_000_000)
Epochs = between(int, 1, 100_000)
BatchSize = between(int, 2, 100_000)
Rate = between(float, 1e-8, 1.0)
Decay = between(float, 0.0, 0.9999)
HalfLife = between(float, 0.0, 100_000.0)
Samples = between(int, 50, 100_000)


def checked(cls):
    """The class as a frozen dataclass whose construction checks, and refuses in one line."""
    cls = dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))(cls)
    check = cls.__init__

    def __init__(self, **values):
        try:
            check(self, **values)
        except ValidationError as error:
            first, known = error.errors(include_url=False)[0], cls.__pydantic_fields__
            if first["type"] == "value_error":  # said in this module
                raise first["ctx"]["error"] from None
            name = first["loc"][0]
            if name not in known:
                raise ValueError(unknown(name, known, cls.__name__)) from None
            says = known[name].description
            raise ValueError(f"{name} must be {says}, got {shown(values[name])}") from None

    cls.__init__ = __init__
    return cls


class Common:
    def __post_init__(self):
        if self.train_limit and self.batch_size > self.train_limit:
            limit = f"train_limit ({self.train_limit})"
            raise ValueError(f"batch_size must be at most {limit}, got {self.batch_size}")


@checked
class VAEConfig(Common):
    """Parameters of one VAE run; the checkpoint stores exactly these."""

    dataset: Dataset = "FashionMNIST"
    seed: Seed = 0
    train_limit: Limit = 0  # 0 means every training image
    epochs: Epochs = 3
    batch_size: BatchSize = 32
    learning_rate: Rate = 1e-3
    hidden_dim: between(int, 1, 8192) = 64
    latent_dim: between(int, 1, 1024) = 16
    beta: between(float, 0.0, 1e3) = 1.0  # weight of the KL term
    learn_variance: Switch = False  # in place of beta: the variance of a pixel (sigma-VAE)
    score_samples: Samples = 10_000


@checked
class GANConfig(Common):
    """Parameters of one DCGAN run; the checkpoint stores exactly these."""

    dataset: Dataset = "MNIST"
    seed: Seed = 0
    train_limit: Limit = 0
    epochs: Epochs = 10
    batch_size: BatchSize = 64
    learning_rate: Rate = 2e-4
    beta1: Decay = 0.5
    beta2: between(float, 0.0, 0.999999) = 0.999
    lr_half_life: HalfLife = 0.0  # epochs in which the learning rate halves; 0: it stays
    ema_decay: Decay = 0.0  # of the average over the generator's steps; 0: no average
    label_smoothing: between(float, 0.0, 0.5) = 0.0  # real images are real with 1 minus this
    batchnorm_affine: Switch = True  # BatchNorm with a learned scale and shift
    latent_dim: between(int, 1, 1024) = 200  # length of z, each element ~ U(-1, 1)
    base_channels: between(int, 1, 512) = 64  # feature maps at 14x14; 2x at 7x7, 4x at 4x4
    snapshot_epochs: several(3, 3, 1, 100_000) = (16, 22, 34)  # of Figures 3, 4, 5
    score_samples: Samples = 10_000

    def __post_init__(self):
        super().__post_init__()
        if list(self.snapshot_epochs) != sorted(set(self.snapshot_epochs)):
            raise ValueError(f"snapshot_epochs must ascend, got {list(self.snapshot_epochs)}")


@checked
class CGANConfig(Common):
    """Parameters of one conditional GAN run; the checkpoint stores exactly these."""

    dataset: Dataset = "MNIST"
    seed: Seed = 0
    train_limit: Limit = 0
    epochs: Epochs = 30
    batch_size: BatchSize = 32
    learning_rate: Rate = 5e-4
    beta1: Decay = 0.5
    beta2: between(float, 0.0, 0.999999) = 0.999
    lr_half_life: HalfLife = 0.0
    ema_decay: Decay = 0.0
    latent_dim: between(int, 1, 4096) = 100  # length of z, each element ~ U(-1, 1)
    hidden_dims: several(1, 8, 1, 8192) = (256, 512)  # of G; the discriminator's are reversed
    num_d_steps: between(int, 1, 100) = 2  # discriminator steps for each generator step
    score_samples: Samples = 10_000

    def __post_init__(self):
        super().__post_init__()
        weights = sum(a * b for a, b in pairwise((self.latent_dim, *self.hidden_dims, 784)))
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"hidden_dims must make a network of at most {MOST_WEIGHTS:,} weights, "
                f"got {shown(list(self.hidden_dims))}: {weights:,}"
            )


@checked
class Surroundings:
    """What a notebook needs beside its config: where things come from and go to."""

    source: one_of(*SOURCES) = "auto"
    data_dir: Folder = ""
    out_dir: Folder = ""
    device: one_of(*DEVICES) = "auto"
    resume: Switch = True


CONFIGS = {"01_vae": VAEConfig, "02_gan": GANConfig, "03_cgan": CGANConfig}
SURROUNDINGS = asdict(Surroundings())


def defaults(notebook):
    """{name: value} of every parameter of a notebook ("02_gan"), sequences as lists."""
    own = asdict(CONFIGS[notebook]()).items()
    return {k: list(v) if isinstance(v, tuple) else v for k, v in own} | SURROUNDINGS


def check_run(notebook, values):
    """(config, Surroundings) of a notebook ("02_gan") with these values, else the defaults.

    Raises ValueError for a value that the notebook would refuse; unknown names too.
    """
    known = defaults(notebook)
    for name in values.keys() - known.keys():
        raise ValueError(unknown(name, known, notebook))
    own = {name: value for name, value in values.items() if name not in SURROUNDINGS}
    around = {name: value for name, value in values.items() if name in SURROUNDINGS}
    return CONFIGS[notebook](**own), Surroundings(**around)


def fixed(settings):
    """The settings {name: value} that must stay when a run goes on, tuples as lists."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
    return {k: v for k, v in plain.items() if k not in FREE_ON_RESUME}


def run_name(notebook, values):
    """The name of a run's folder, such as beta-4.0_1f2e3d4c or default_9a8b7c6d.

    Readable is what differs from the defaults. The digest is of all that makes it another run,
    and so not of FREE_ON_RESUME, device, out_dir and resume: more epochs go on where it is.
    """
    config, around = check_run(notebook, values)
    usual = defaults(notebook)
    made = fixed(asdict(config)) | {"source": around.source}
    changed = "_".join(f"{name}-{value}" for name, value in made.items() if value != usual[name])
    readable = re.sub("[^A-Za-z0-9._]+", "-", changed)[:80] or "default"
    where = "" if around.source == "sample" else paths.from_root(paths.data_dir(around.data_dir))
    identity = json.dumps([notebook, made, where], sort_keys=True)
    return f"{readable}_{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def unknown(name, known, owner):
    """What to say of a name that is none of the known."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{name}: no parameter of {owner}; {hint} (to add one: CONTRIBUTING.md)"


def shown(value):
    """A value for a message: in one line of at most 80 characters, whatever it is."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of more than 4,300 digits"  # which Python refuses to write out
    return text if len(text) <= 80 else f"{text[:77]}..."
