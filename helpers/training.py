"""What the three training loops share: device, threads, random numbers, batches, CUDA graphs."""

import copy
import hashlib
import io
import math
import os
import tokenize
from contextlib import contextmanager
from pathlib import Path

import torch


def pick_device(name="auto"):
    """The torch.device for "auto" | "cpu" | "cuda" | "mps"; ValueError if it is not there."""
    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = "cuda" if has["cuda"] else "cpu"  # mps has no deterministic mode: only on request
    if name not in has:
        raise ValueError(f"device must be one of auto, cpu, cuda, mps, got {name!r}")
    if not has[name]:
        there = ", ".join(kind for kind, present in has.items() if present)
        raise ValueError(f"device {name!r} is not available here; available: {there}")
    return torch.device(name)


def set_up(device, threads=0):
    """Make torch repeat itself bit for bit, with `threads` CPU threads (0: one per core).

    Call once, before the first computation; the same thread count gives the same bytes.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for deterministic cuBLAS
    torch.use_deterministic_algorithms(device.type != "mps")
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.backends.cudnn.benchmark = False  # the fastest algorithm may differ from run to run
    torch.set_num_threads(min(threads or cores(), cores()))


def cores():
    """CPU cores that this process may use: $OMP_NUM_THREADS if that is set, as on a cluster."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def code_digest(module):
    """SHA-256 of the code that computes: a model's module, this one and cuda_graph.

    The same in every Python. Kept with a checkpoint, so that a run is not continued by other code
    than began it.
    """
    digest = hashlib.sha256()
    for path in (module.__file__, __file__, Path(__file__).with_name("cuda_graph.py")):
        digest.update(code_alone(Path(path).read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def code_alone(text):
    """Source text without comments, docstrings and empty lines, which compute nothing."""
    lines = text.splitlines()
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    begins = True  # a statement begins here
    for token, after in zip(tokens, tokens[1:], strict=False):
        docstring = begins and token.type == tokenize.STRING and after.type == tokenize.NEWLINE
        if docstring or token.type == tokenize.COMMENT:
            (first, start), (last, end) = token.start, token.end
            for row in range(first, last + 1):
                line = lines[row - 1]
                left = start if row == first else 0
                right = end if row == last else len(line)
                lines[row - 1] = line[:left] + " " * (right - left) + line[right:]
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def describe_device(device):
    """One line for the reader, such as "cpu, 2 threads"."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' * (threads > 1)}"


def derive(seed, *purpose):
    """A 63-bit seed for one purpose: distinct purposes give independent streams."""
    digest = hashlib.sha256(repr((int(seed), *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng(seed, *purpose):
    """A CPU generator for one purpose, e.g. rng(0, "noise", epoch).

    Every stream is a function of (seed, purpose), so a resumed run needs no generator's state.
    All draws happen on the CPU and are then moved: a GPU sees the same numbers.
    """
    return torch.Generator().manual_seed(derive(seed, *purpose))


@contextmanager
def seeded(seed, *purpose):
    """Within the block, torch's global generators are seeded; afterwards they are as before.

    For what draws from them and takes no generator: the initialization of layers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, *purpose))
        yield


def uniform(shape, rng):
    """Noise ~ U(-1, 1) of the given shape, float32 on the CPU."""
    return torch.rand(shape, generator=rng).mul_(2).sub_(1)


def in_blocks(draw, steps, device, block=64):
    """The draws for each of `steps` steps, made and moved to the device `block` steps at a time.

    draw(n) returns a tensor, or a tuple of tensors, whose first axis is n steps.
    """
    for done in range(0, steps, block):
        drawn = draw(min(block, steps - done))
        if isinstance(drawn, torch.Tensor):
            yield from drawn.to(device)
        else:
            yield from zip(*(part.to(device) for part in drawn), strict=True)


def batches(n, batch_size, rng):
    """The shuffled indices of one epoch: (n // batch_size, batch_size) int64.

    The rest of the division is left out, other images each epoch, so every batch has one size.
    """
    if batch_size > n:
        raise ValueError(f"batch_size must be at most the {n} training images, got {batch_size}")
    steps = n // batch_size
    return torch.randperm(n, generator=rng)[: steps * batch_size].view(steps, batch_size)


def finite_means(totals, steps, epoch):
    """Means over an epoch's steps, from sums kept on the device; one transfer an epoch.

    Raises ValueError if a sum is not finite. A NaN reaches the weights and stays in every later
    sum, so looking once, before the epoch is saved, is enough and costs no step a wait.
    """
    means = [total / steps for total in totals.tolist()]
    if not all(math.isfinite(mean) for mean in means):
        raise ValueError(
            f"epoch {epoch}: a loss is not finite ({means}); the last checkpoint is still good; "
            "try a smaller learning_rate"
        )
    return means


def adam(parameters, config, device):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980), fused into one kernel for all parameters."""
    betas = (getattr(config, "beta1", 0.9), getattr(config, "beta2", 0.999))
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=betas,
        fused=device.type in ("cpu", "cuda"),
        capturable=device.type == "cuda",  # step counts on the GPU, as a CUDA graph needs
    )


def adam_step(optimizer, gradients):
    """A step of `adam` with a gradient for each of its parameters.

    On the CPU without optimizer.step(), whose bookkeeping takes longer than the arithmetic when
    networks are small. The numbers are the same.
    """
    (group,) = optimizer.param_groups
    weights = group["params"]
    if weights[0].device.type != "cpu" or not optimizer.state:  # the first step makes the state
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        return optimizer.step()
    states = [optimizer.state[weight] for weight in weights]
    first, second, steps = ([s[k] for s in states] for k in ("exp_avg", "exp_avg_sq", "step"))
    torch._foreach_add_(steps, 1)
    rates = {k: group[k] for k in ("lr", "weight_decay", "eps", "amsgrad", "maximize")}
    rates["beta1"], rates["beta2"] = group["betas"]
    torch._fused_adam_(weights, gradients, first, second, [], steps, **rates)


def set_rate(optimizer, config, epoch):
    """The learning rate of this epoch: halved every config.lr_half_life epochs, smoothly.

    On a GPU it is a tensor that stays in place, so that a recorded step sees the new value.
    """
    half_life = getattr(config, "lr_half_life", 0)
    rate = config.learning_rate * (0.5 ** ((epoch - 1) / half_life) if half_life else 1.0)
    for group in optimizer.param_groups:
        device = group["params"][0].device
        if device.type != "cuda":
            group["lr"] = rate
        elif torch.is_tensor(group["lr"]) and group["lr"].device == device:
            group["lr"].fill_(rate)
        else:
            group["lr"] = torch.tensor(rate, device=device)


def averaged(net, decay):
    """A copy of a network for `follow` to update; the network itself if decay is 0."""
    return copy.deepcopy(net) if decay else net


@torch.no_grad()
def follow(average, net, decay):
    """average <- decay * average + (1 - decay) * net, running statistics of BatchNorm included.

    The average over training steps draws better images than the last step's weights do
    (Yazici et al. 2019, arXiv:1806.04498).
    """
    if average is net:
        return
    for slow, fast in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)


def memory_format(device):
    """How convolutions like their images laid out: channels last, on CPUs and GPUs alike."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def to_unit(images):
    """(...) uint8 array or tensor -> float32 tensor in [0, 1], for the VAE."""
    return _gray(images).float() / 255


def to_signed(images):
    """(...) uint8 array or tensor -> float32 tensor in [-1, 1], the range of tanh."""
    return _gray(images).float() / 127.5 - 1


def _gray(images):
    tensor = torch.as_tensor(images)
    if tensor.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 in 0..255, got {tensor.dtype}")
    return tensor


def from_unit(x):
    """Gray levels of images in [0, 1]: uint8, rounded."""
    return x.mul(255).round().clamp(0, 255).to(torch.uint8)


def from_signed(x):
    """Gray levels of images in [-1, 1]: uint8, rounded."""
    return from_unit((x + 1) / 2)


def count_parameters(module):
    """Trainable numbers in a network."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
