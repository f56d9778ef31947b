"""A history comes back from its two files as it was."""

import pytest
import torch

from helpers import cgan, gan, history, training, vae


@pytest.mark.fault(90)  # all cells are numbers: no spreadsheet runs one
@pytest.mark.parametrize(
    ("kind", "shape"),
    [(vae.Record, None), (gan.Record, (16, 28, 28)), (cgan.Record, (3, 10, 28, 28))],
)
def test_every_number_and_gray_level_comes_back(tmp_path, kind, shape):
    rng = training.rng(0, "history")
    made = []
    for epoch in (1, 2, 3):
        values = {name: torch.rand((), generator=rng).item() / 3 for name in kind._fields[1:]}
        values[kind._fields[1]] = 0.0  # a float that looks whole
        if shape:
            values["images"] = torch.randint(256, shape, generator=rng, dtype=torch.uint8)
        made.append(kind(epoch, **values))
    for _ in range(2):
        history.write(tmp_path, made)
        found = history.read(tmp_path, kind)
        assert [repr(record) for record in found] == [repr(record) for record in made]
        if shape:
            assert all(torch.equal(a.images, b.images) for a, b in zip(found, made, strict=True))
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert files.setdefault("history.csv", b"").startswith(b"epoch,")
        made, before = found, files  # written again, the same bytes
    assert before == files and len(files) == 1 + bool(shape)
