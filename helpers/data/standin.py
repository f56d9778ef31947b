"""The built-in stand-in sets, for want of data and network. They are not the real sets."""

import numpy as np

WHERE = {  # what the reader is told
    "digits": "1,797 handwritten digits of scikit-learn at 28x28, each in 20 (test: 4) poses",
    "garments": "ten classes of garments drawn by helpers/data/standin.py",
}
ZOOM = 4  # garments are drawn so many times as large, then averaged down

# The garments, a row for each layer: of which class it is, how it is drawn, its gray as a share of
# the garment's, its points: x to the right of the middle, y down, in pixels. "half" is closed by
# its mirror image, "pair" and "lines" are drawn on both sides.
GARMENTS = """
0 pair  .86-1   5.9,4 8,4.8 11.4,10.1 8.9,12.1 6.3,9.5
0 half  1-1     0,6 2.6,4.7 3.1,3 6.8,4.3 6.7,10 6.6,25.3 0,25.7
0 lines .6-.8   3,3.2 2.5,5.2 0,6.5
1 pair  .93-1   .1,1.6 4.2,1.6 5.2,7 5.3,16 5.8,26.2 2.7,26.4 1.8,17 .2,10.2
1 half  .6-.95  0,1.2 4.3,1.2 4.5,2.7 0,2.7
2 pair  .85-1   5.8,3.8 7.8,4.8 9.8,11 11.3,23 8.9,23.6 6.9,11
2 half  1-1     0,5.3 2.5,4.6 3,3 6.6,4 6.5,10 6.5,24.5 0,24.9
2 line  .4-.75  -3,3.1 -1.9,5.1 0,5.6 1.9,5.1 3,3.1
3 half  1-1     0,4.8 1.7,3.5 2.1,1.6 3.7,2.3 3.3,6.8 2.8,11.6 5,18.5 6.5,26.1 0,26.5
4 pair  .85-1   5.5,3.8 7.5,4.8 9.5,11 11,23.5 8.7,24.1 6.7,11
4 half  1-1     0,4.5 2.5,3.8 2.9,2.6 6.3,3.8 6.2,10 6.7,26.3 0,26.5
4 whole .2-.6   -2.3,2.9 2.3,2.9 .2,11
4 pair  .9-1.15 2.3,2.2 3.9,5.9 2.9,6.8 .3,12
4 line  .3-.5   0,11.3 0,26.5
5 whole .5-.9   -11.5,20.8 -5.5,21.1 3.5,18.9 11.5,14.6 12,22.7 -10.5,22.7
5 whole .7-1.1  -12.2,20.5 -6,20.8 1,19 6,16.5 11.4,14.3 11.6,15.8 6,18.2 0,21.1 -11.5,22.2
5 line  .8-1.1  -9.6,20.5 -7.5,17.1 -4,16.1 -2.5,20.1
5 line  .9-1.1  10.8,14.5 11.6,9.8 6.8,8.2 2.2,11.2 3.6,17.7
6 pair  .85-1   5.8,3.8 7.8,4.8 9.8,11 11.3,23 8.9,23.6 6.9,11
6 half  1-1     0,5.2 2.3,4.5 2.7,2.8 6.4,4.2 6.3,10 6.4,24.5 5.1,25.6 0,25.1
6 pair  1.1-1.4 .1,6 2.3,2.3 3.9,4.5 2.3,7.7
6 whole 1.1-1.3 -.8,5.8 .8,5.8 .8,25 -.8,25
6 lines .5-.7   1.1,7 1.1,24.6
7 whole 1-1     12,10 8,12 4,11.6 .6,9.8 -5.4,14.8 -9.4,16 -12,18 -12,20.4 12,20.4 11.8,15
7 whole .4-1.5  9.4,10.6 12,10.2 12,19 8.5,19
7 line  .4-1.7  -4.5,16.3 -1.5,18.4 9.5,13.7
7 whole .4-1.7  -12.3,18.8 12.3,18.4 12.6,20.7 8,21.3 -11.7,21.2
8 line  .7-1.1  -5.3,11.5 -5,5.3 -2.5,3.5 2.5,3.5 5,5.3 5.3,11.5
8 half  1-1     0,9.6 9.4,9.6 10.3,17 10.6,24.8 0,25
9 whole .9-1    1.3,4.2 10.9,3.7 11,11.5 11.5,23 -12.2,23.8 -12.2,20.5 -9.5,18.6 -4,16.6 0,12.8
9 whole .3-.6   11.5,22.5 11.5,25.4 8,25.4 7.2,22.9 -2,23.6 -11,25.1 -12.4,24.6 -12.4,23.2
9 line  .3-.6   -.8,14.5 11.4,13.2
"""


def digits(seed=0):
    """Handwritten digits of scikit-learn, in MNIST's form: (train, labels), (test, labels).

    The 1,797 images of 8x8 (Alpaydin & Kaynak 1998, doi:10.24432/C50P49) are split by class into
    1,497 and 300, drawn in 20 and in four poses: 29,940 training and 1,200 test images, and no
    digit is in both. Images (N, 28, 28) uint8, labels (N,) int64. The same seed, the same bytes.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    halves = train_test_split(images, labels, test_size=300, stratify=labels, random_state=seed)
    rng = np.random.default_rng([seed, 1])
    parts = []
    for images, labels, poses in ((halves[0], halves[2], 20), (halves[1], halves[3], 4)):
        drawn = [_poses(image.reshape(8, 8) / 16, poses, rng) for image in images]
        order = rng.permutation(len(labels) * poses)
        parts.append((np.concatenate(drawn)[order], labels.repeat(poses)[order].astype(np.int64)))
    return parts


def _poses(image, count, rng):
    """An 8x8 digit, each time with another turn, slant, size, pen and bend -> (count, 28, 28).

    As in MNIST it fills a box of 20x20 around its center of mass (LeCun et al. 1998,
    doi:10.1109/5.726791). It bends as in Simard et al. 2003 (doi:10.1109/ICDAR.2003.1227801).
    """
    from scipy import ndimage

    def u(low, high):
        return rng.uniform(low, high, (count, 1, 1))

    def wave(t):  # sideways by up to 0.8 pixels, not at all in the middle
        phase = u(0, 6.3)
        return u(0, 0.8) * (np.sin(u(0.12, 0.32) * t + phase) - np.sin(phase))

    image = np.pad(image, 2)
    down, across = np.mgrid[:28, :28] - 13.5
    across, down = across + wave(down), down + wave(across)
    angle = u(-0.14, 0.14)
    sin, cos = np.sin(angle), np.cos(angle)
    y, x = across * sin + down * cos, across * cos - down * sin
    x = u(1, 1.15) * (x + u(-0.17, 0.17) * y)
    scale = (np.ptp(np.argwhere(image > 0.25), 0).max() + 1) / u(18.3, 20.3)
    middle = ndimage.center_of_mass(image)
    gray = ndimage.map_coordinates(image, [middle[0] + scale * y, middle[1] + scale * x])
    gray = (gray - u(0.38, 0.52)) / u(0.26, 0.4) + 0.5  # the edges of a pen's stroke
    return np.rint(255 * np.clip(gray, 0, 1)).astype(np.uint8)


def garments(seed=0, train=20_000, test=2000):
    """Images of clothes, all classes equally often: (train, labels), (test, labels).

    Outline, size, pose and gray vary. The classes and their views follow Xiao et al. 2017
    (arXiv:1708.07747); no image of theirs is used. Types and repetition as of `digits`.
    """
    rng = np.random.default_rng([seed, 2])
    layers = [[] for _ in range(10)]
    for row in GARMENTS.strip().splitlines():
        label, how, gray, *points = row.split()
        points = np.array([point.split(",") for point in points], float) - [0, 14]
        layers[int(label)].append((how, *map(float, gray.split("-")), points))
    parts = []
    for count in (train, test):
        labels = rng.permutation(np.arange(count) % 10)
        parts.append((np.stack([_garment(layers[label], rng) for label in labels]), labels))
    return parts


def _garment(layers, rng):
    """One garment -> (28, 28) uint8."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (28 * ZOOM, 28 * ZOOM))
    canvas = ImageDraw.Draw(image)
    gray, width = rng.uniform(0.25, 0.95), round(ZOOM * rng.uniform(0.5, 1.3))
    turn, slant = rng.uniform(-0.05, 0.05, 2)
    pose = ZOOM * np.array([[1, turn + slant], [-turn, 1]]) * rng.uniform(0.86, 1.1, 2)
    middle = ZOOM * (14 + rng.uniform(-0.7, 0.7, 2))
    for how, dark, light, points in layers:
        level = int(255 * min(gray * rng.uniform(dark, light), 1))
        right = points + rng.uniform(-0.4, 0.4, 2)
        left = right * [-1, 1]
        outlines = [np.concatenate([right, left[::-1]])] if how == "half" else [right]
        for outline in outlines + [left] * (how in ("pair", "lines")):
            flat = (outline @ pose + middle).ravel().tolist()
            if how.startswith("line"):
                canvas.line(flat, level, width, joint="curve")
            else:
                canvas.polygon(flat, level, int(0.7 * level))  # with a darker edge
    cloth = 1 + 0.04 * rng.standard_normal((28, 28))
    return np.clip(np.rint(np.asarray(image.reduce(ZOOM)) * cloth), 0, 255).astype(np.uint8)
