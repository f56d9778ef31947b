"""The built-in stand-in sets, for want of data and network. They are not the real sets.

The digits are here, the clothes in helpers/data/garments.py; helpers/data takes one or the other.
"""

import numpy as np

WHERE = {  # what the reader is told
    "digits": "1,797 handwritten digits of scikit-learn at 28x28, each in 20 (test: 4) poses",
    "garments": "ten classes of garments drawn by helpers/data/garments.py",
}
FINE = 8  # points to a pixel of the small digits


def digits(seed=0):
    """Handwritten digits of scikit-learn, in MNIST's form: (train, labels), (test, labels).

    The 1,797 images of 8x8 (Alpaydin & Kaynak 1998, doi:10.24432/C50P49) are split by class into
    1,497 and 300. Each of the first is drawn in 20 poses, each of the others in four: 29,940
    training and 1,200 test images, and no digit is in both. A pose has its own turn, slant, size
    and pen, and bends a little (as Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801, have it).
    As in MNIST the digit fills a box of 20x20 and its center of mass is the center of the image
    (LeCun et al. 1998, doi:10.1109/5.726791). Images (N, 28, 28) uint8, labels (N,) int64.
    The same seed gives the same bytes.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images, labels = (found.images / 16).astype(np.float32), found.target.astype(np.int64)
    rng = np.random.default_rng([seed, 1])
    in_test = np.zeros(len(labels), bool)
    for label in range(10):
        in_test[rng.permutation(np.flatnonzero(labels == label))[:30]] = True
    return [
        _redraw(images[part], labels[part], poses, rng)
        for part, poses in ((~in_test, 20), (in_test, 4))
    ]


def _redraw(images, labels, poses, rng):
    """Each 8x8 image in [0, 1] as so many images of 28x28 uint8, shuffled, with their labels."""
    line = np.arange(8, dtype=np.float32)
    bumps = _bump(np.arange(11 * FINE + 1, dtype=np.float32)[:, None] / FINE - 2 - line)
    smooth = bumps @ images @ bumps.T  # a sum of bumps, one for each pixel; they reach 2 beyond
    mass = images.sum((1, 2))
    center = np.stack([images.sum(1) @ line / mass, images.sum(2) @ line / mass])
    ink = images > 0.25
    extent = np.maximum(_extent(ink.any(1)), _extent(ink.any(2)))

    order = rng.permutation(np.tile(np.arange(len(images), dtype=np.int32), poses))
    drawn = np.empty((len(order), 28, 28), np.uint8)
    for start in range(0, len(order), 256):  # in blocks that stay small
        part = order[start : start + 256]
        drawn[start : start + 256] = _pose(smooth, part, center[:, part], extent[part], rng)
    return drawn, labels[order]


def _pose(smooth, part, center, extent, rng):
    """Some of the smooth pictures, each in a pose of its own -> (n, 28, 28), 0 to 255."""

    def each(low, high):
        return rng.uniform(low, high, (len(part), 1, 1)).astype(np.float32)

    def wave(t):  # sideways by up to 0.8 pixels, not at all in the middle
        phase = each(0, 6.3)
        return each(0, 0.8) * (np.sin(each(0.12, 0.32) * t + phase) - np.sin(phase))

    # Where in the 8x8 image each of the 28x28 points lies.
    v, u = np.mgrid[:28, :28].astype(np.float32) - 13.5
    u, v = u + wave(v), v + wave(u)
    angle, slant = each(-0.14, 0.14), each(-0.17, 0.17)
    across = u * np.cos(angle) - v * np.sin(angle)
    down = u * np.sin(angle) + v * np.cos(angle)
    scale = extent[:, None, None] / each(18.3, 20.3)
    x = center[0][:, None, None] + scale / each(1, 1.15) * (across + slant * down)
    y = center[1][:, None, None] + scale * down

    # The gray there, between the four nearest points of the smooth picture. Raised and clipped it
    # has the edges of a pen's stroke.
    side = smooth.shape[1]
    x, y = (np.clip((p + 2) * FINE, 0, side - 1.01) for p in (x, y))
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = x - left, y - top
    first = (part[:, None, None] * side + top) * side + left
    a, b, c, d = (smooth.ravel()[first + step] for step in (0, 1, side, side + 1))
    gray = (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
    gray = (gray - each(0.38, 0.52)) / each(0.26, 0.4) + 0.5
    return np.rint(255 * np.clip(gray, 0, 1))


def _extent(ink):
    """Width of the inked columns, (N, 8) bool -> (N,) float32."""
    first, last = ink.argmax(1), 7 - ink[:, ::-1].argmax(1)
    return (last - first + 1).astype(np.float32)


def _bump(t):
    """Cubic convolution, which keeps edges sharp (Keys 1981, doi:10.1109/TASSP.1981.1163711)."""
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))
