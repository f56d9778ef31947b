"""Every bad value of a parameter is refused with its name and itself, every other one arrives."""

import json
import math
import re
from unittest import mock

import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from helpers import params
from helpers.paths import ROOT
from workflow import arguments

NAMES = [
    (notebook, name) for notebook in sorted(params.CONFIGS) for name in params.defaults(notebook)
]
PATHS = {notebook: ROOT / f"notebooks/{notebook}.ipynb" for notebook in params.CONFIGS}
DECLARED = {path: arguments.declared(path) for path in PATHS.values()}  # read once
NUMBERS = [(n, name) for n, name in NAMES if type(params.defaults(n)[name]) in (int, float)]


@pytest.mark.fault(24, 26, 27, 28, 31, 35)
@pytest.mark.parametrize("notebook", sorted(params.CONFIGS))
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", True), ("epochs", 1.5), ("epochs", "5"), ("batch_size", math.nan),
        ("learning_rate", math.nan), ("learning_rate", math.inf), ("learning_rate", "fast"),
        ("learning_rate", True), ("epochs", 10**4299),
        ("dataset", "mnist"), ("dataset", 7), ("source", "web"), ("device", "gpu"),
        ("resume", 1), ("out_dir", None), ("data_dir", "a\0b"), ("score_samples", 1),
        ("epoch", 3), ("snapshot_epochs", [34, 22, 16]), ("hidden_dims", [1.5]),
    ],
)  # fmt: skip
def test_bad_values_are_named(notebook, name, value):
    line = refused(notebook, name, value)
    assert line.startswith(name) and "\n" not in line and len(line) < 400
    assert name not in params.defaults(notebook) or params.shown(value) in line
    assert value == 10**4299 or params.shown(value) == repr(value)


def test_a_config_refuses_a_name_it_does_not_know():
    with pytest.raises(ValueError, match="^epoch.*did you mean epochs"):
        params.VAEConfig(epoch=3)


def refused(notebook, name, value):
    with pytest.raises(ValueError) as caught:
        params.check_run(notebook, {name: value})
    return str(caught.value)


@pytest.mark.fault(28)
@pytest.mark.parametrize(("notebook", "name"), NUMBERS)
def test_the_ends_of_each_range_are_where_the_message_says(notebook, name):
    default = params.defaults(notebook)[name]
    line = refused(notebook, name, -(10**30))
    kind, low, high = re.fullmatch(
        rf"{name} must be (int|float) in \[(\S+), (\S+)\], got -1000\S*", line
    ).groups()
    assert kind == type(default).__name__
    shown = f"in [{low}, {high}], got "
    low, high = (type(default)(text) for text in (low, high))
    step = 1 if kind == "int" else 1e-9
    for value in (low, high):
        params.check_run(notebook, {"batch_size": 2, name: value})
    for value in (low - step, high + max(step, abs(high) * 1e-6), 10**30):
        assert f"{shown}{value!r}" in refused(notebook, name, value)


@pytest.mark.fault(30)
@pytest.mark.parametrize("notebook", sorted(params.CONFIGS))
def test_a_batch_larger_than_the_data_is_no_empty_epoch(notebook):
    line = refused(notebook, "train_limit", 1)
    assert line.startswith("batch_size must be at most train_limit (1), got ")


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(0, 100), st.floats(), st.text(),
        st.binary(), st.integers(40_000, 50_000).map(lambda n: 1 << n),
        st.sampled_from([*params.DATASETS, *params.DEVICES]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip


@pytest.mark.fault(26, 27, 28, 29, 31, 33)
@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("epochs", "7", 7), ("beta", "1e-1", 0.1), ("resume", "TRUE", True), ("out_dir", "1", "1"),
        ("out_dir", " é\n'x\" ", " é\n'x\" "), ("out_dir", "\udcff", None),
        ("epochs", "1_0", None), ("beta", "1_0", None), ("epochs", " 5", None),
        ("beta", "nan", None), ("beta", "-inf", None), ("beta", "1e400", None),
        ("seed", "\u0663", None), ("seed", "9" * 5000, None), ("epochs", "1.0", None),
        ("resume", "yes", None),
    ],
)  # fmt: skip
def test_a_word_arrives_exactly_or_is_refused_by_name(name, word, value):
    if value is None:
        with pytest.raises(ValueError, match=rf"\A{name} must be .*, got .*\Z"):
            arguments.given(PATHS["01_vae"], pairs=[(name, word)])
    else:
        values = arguments.given(PATHS["01_vae"], pairs=[(name, word)])
        assert values == {name: value} and type(values[name]) is type(value)
        same_in_the_notebook(values)


def same_in_the_notebook(values):
    """What papermill writes into the cell is the value itself when Python reads it."""
    there = {}
    exec(PythonTranslator.codify(values), there)
    for name, value in values.items():
        assert there[name] == value and type(there[name]) is type(value)


@pytest.mark.fault(26, 27, 28, 29, 31, 33, 91)
@settings(max_examples=400, deadline=None, derandomize=True)
@given(which=st.sampled_from(NAMES), value=VALUES, as_json=st.booleans())
@example(("01_vae", "seed"), 8, True)
def test_any_value_in_a_file_arrives_exactly_or_is_refused_by_name(
    tmp_path_factory, which, value, as_json
):
    notebook, name = which
    path, file = PATHS[notebook], tmp_path_factory.getbasetemp() / "profile.yaml"
    try:
        text = (json.dumps if as_json else yaml.safe_dump)({name: value})
    except (TypeError, ValueError):  # cannot be written down
        return
    file.write_text(text, encoding="utf-8")
    with mock.patch.object(arguments, "declared", DECLARED.get):
        try:
            values = arguments.given(path, [file])
        except ValueError as error:
            line, pair = str(error), {"train_limit": "batch_size"}.get(name, name)
            assert "\n" not in line and len(line) < 400
            assert line.startswith((f"{file}:", f"{name} must", f"{pair} must")), line
            assert "got " in line or "not valid YAML" in line
            return
    default = params.defaults(notebook)[name]
    assert values == {name: value} and type(values[name]) is type(default)
    same_in_the_notebook(values)


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: " + "9" * 5000, "not valid YAML: Exceeds the limit"),
        ("learning_rate: .nan", "learning_rate must be float, finite, such as 1e-3, got nan"),
        ('{"learning_rate": NaN}', "learning_rate must be float, finite, such as 1e-3, got 'NaN'"),
        ("out_dir: 2024-13-45", "not valid YAML: month must be in 1..12"),
        (
            'out_dir: "\\ud800"',
            "out_dir must be str, in UTF-8 (in YAML: in quotes), got '\\ud800'",
        ),
        ("out_dir: \0", "not valid YAML: unacceptable character #x0000"),
        ("out_dir: !!timestamp x", "not valid YAML: "),
        ("out_dir: " + "[" * 500, "not valid YAML: "),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", ":2: not valid YAML: an alias"),
        ("<<: {seed: 1}\n<<: {seed: 2}", ":2: not valid YAML: << is there twice"),
        ("seed: !!python/object/new:os.system ['touch TRACE']", "could not determine"),
        ("!!python/name:os.system : 1", "could not determine"),
        ("\ud8ff", "not UTF-8 text"),
        ("- epochs", "must hold lines such as 'epochs: 3', got ['epochs']"),
    ],
)
def test_no_file_of_parameters_is_misread_or_run(tmp_path, text, says):
    file, trace = tmp_path / "profile.yaml", tmp_path / "trace"
    file.write_bytes(text.replace("TRACE", str(trace)).encode("utf-16" if "\ud8ff" in text
                     else "utf-8", "surrogatepass"))  # fmt: skip
    with pytest.raises(ValueError) as caught:
        arguments.given(PATHS["01_vae"], [file])
    line = str(caught.value)
    assert line.startswith(f"{file}:") and says in line and "\n" not in line and len(line) < 400
    assert not trace.exists()


@pytest.mark.fault(134)
@pytest.mark.parametrize("notebook", sorted(params.CONFIGS))
def test_the_largest_networks_make_a_checkpoint_that_can_be_read(notebook):
    """Weights, Adam's two moments of each, and an average of the first network, 4 bytes each."""
    from helpers import cgan, checkpoint, gan, vae

    with torch.device("meta"):
        if notebook == "01_vae":
            nets = [vae.VAE(8192, 1024)]
        elif notebook == "02_gan":
            nets = [gan.Generator(1024, 512), gan.Discriminator(512)]
        else:
            dims = params.CGANConfig(latent_dim=10, hidden_dims=[8192, 6400]).hidden_dims
            nets = [cgan.Generator(10, dims, 26), cgan.Discriminator(dims[::-1], 26)]
    sizes = [sum(weight.numel() for weight in net.parameters()) for net in nets]
    assert 4 * (3 * sum(sizes) + sizes[0]) < 0.95 * checkpoint.LARGEST
    line = refused("03_cgan", "hidden_dims", [8192, 8192, 3000])
    assert line.startswith("hidden_dims must make a network of at most 60,000,000 weights, got [8")


def test_a_run_is_named_by_what_makes_it_another(monkeypatch):
    monkeypatch.delenv("DATA_DIR", raising=False)

    def name(notebook="01_vae", **values):
        return params.run_name(notebook, values)

    assert re.fullmatch("default_[0-9a-f]{8}", name())
    assert re.fullmatch("beta-4.0_[0-9a-f]{8}", name(beta=4.0)) and name(beta=4) == name(beta=4.0)
    two = name("03_cgan", hidden_dims=[64, 8], source="sample")
    assert two.startswith("hidden_dims-64-8-_source-sample_")
    free = {"epochs": 9, "score_samples": 99, "device": "cpu", "out_dir": "x", "resume": False}
    assert name(**free) == name() and name("02_gan", snapshot_epochs=[1, 2, 3]) == name("02_gan")
    others = {name(), name("02_gan"), name(data_dir="x"), name(source="csv"), name(seed=1)}
    assert len(others) == 5 and name(data_dir="data") == name()
    with pytest.raises(ValueError, match="^seed must be int"):
        name(seed="1")
