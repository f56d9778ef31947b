"""A run's history as two files that any program reads: history.csv, and of images film.png.

The table holds the numbers of every epoch, written so that they come back as they were; the gray
picture a row for each epoch, in it all its images side by side. Together they are the history.
"""

import csv
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers.files import write_atomically


def write(folder, history):
    """Write folder/history.csv and, if the records hold images, folder/film.png."""
    rows = [record._asdict() for record in history]
    images = [row.pop("images") for row in rows if "images" in row]
    write_atomically(Path(folder, "history.csv"), pd.DataFrame(rows).to_csv(index=False).encode())
    if images:
        film, about, file = torch.stack(images).flatten(1, -3), PngInfo(), BytesIO()
        about.add_text("shape", " ".join(map(str, images[0].shape)))
        picture = film.transpose(1, 2).flatten(2).flatten(0, 1).numpy()
        Image.fromarray(picture).save(file, "PNG", pnginfo=about)
        write_atomically(Path(folder, "film.png"), file.getvalue())


def read(folder, record_type):
    """The records that `write` was given, exactly."""
    with open(Path(folder, "history.csv"), encoding="utf-8", newline="") as file:
        rows = [{k: float(text) for k, text in row.items()} for row in csv.DictReader(file)]
    if "images" in record_type._fields:
        with Image.open(Path(folder, "film.png")) as picture:
            shape = [int(n) for n in picture.text["shape"].split()]
            film = torch.from_numpy(np.array(picture)).view(len(rows), shape[-2], -1, shape[-1])
        for row, images in zip(rows, film.transpose(1, 2), strict=True):
            row["images"] = images.reshape(shape)
    return [record_type(**row | {"epoch": epoch}) for epoch, row in enumerate(rows, 1)]
