"""A training step as one CUDA graph: launched whole, not kernel by kernel.

The networks here are so small that a GPU waits for Python most of the time. Recorded once, a step
of a hundred kernels costs one launch.
"""

import torch


def recorded(step, parts, *example):
    """A function equal to `step` that replays it as a CUDA graph; `step` itself on other devices.

    step(*inputs) works on the networks and optimizers in `parts` and returns a tensor; example:
    inputs, whose shapes stay. The parts end as they began. The recording is compared with the
    plain step once; if it fails or differs, that is printed and the plain step is used.
    """
    if example[0].device.type != "cuda":
        return step
    inputs = [tensor.clone() for tensor in example]
    before = {tensor.data_ptr(): tensor.clone() for tensor in _tensors(parts)}
    try:
        _warm_up(step, inputs)
        _restore(parts, before)
        expected = [step(*inputs).clone(), *(tensor.clone() for tensor in _tensors(parts))]
        _restore(parts, before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = step(*inputs)
        graph.replay()
        found = [output, *_tensors(parts)]
        if not all(torch.allclose(a, b, 1e-3, 1e-5) for a, b in zip(found, expected, strict=True)):
            raise RuntimeError("a replayed step differs from a plain one")
    except RuntimeError as error:
        print(f"warning: no CUDA graph, plain steps instead: {str(error).splitlines()[0]}")
        return step
    finally:
        _restore(parts, before)

    def replay(*new):
        for held, tensor in zip(inputs, new, strict=True):
            held.copy_(tensor)
        graph.replay()
        return output

    return replay


def _tensors(parts):
    """Every tensor that a step changes: weights, buffers, Adam's averages and counts."""
    for part in parts:
        if isinstance(part, torch.nn.Module):
            yield from part.state_dict().values()
        else:
            for state in part.state.values():
                yield from (value for value in state.values() if torch.is_tensor(value))


@torch.no_grad()
def _restore(parts, before):
    """Put every tensor back in place; what did not exist before, a fresh Adam's state, is zero."""
    for tensor in _tensors(parts):
        saved = before.get(tensor.data_ptr())
        tensor.zero_() if saved is None else tensor.copy_(saved)


def _warm_up(step, inputs):
    """Three plain steps on a stream of their own, as torch's notes on CUDA graphs ask for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
