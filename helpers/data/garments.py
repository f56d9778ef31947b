"""The stand-in for Fashion-MNIST: ten classes of clothes, drawn.

Reading order: `draw`, from labels to images; the strokes that all clothes are made of; the
clothes, a function each, in the order of their labels. Lengths are in pixels of the final 28x28
image; x to the right of the middle, y down. u(low, high) is a random number between the two.
"""

import functools
import random

import numpy as np

ZOOM = 4  # drawn so many times as large, then averaged down
PATTERNED = np.array([1, 0.3, 0.7, 0.8, 0.4, 0, 1, 0, 0, 0], np.float32)  # by class, for _cloth


def draw(seed=0, train=20_000, test=2000):
    """So many images of clothes, all classes equally often: (train, labels), (test, labels).

    Outline, size, pose, cloth and gray vary from image to image. The classes and their views
    (from the front, shoes from the side with the toe to the left) follow Xiao et al. 2017
    (arXiv:1708.07747); no image of theirs is used. Images (N, 28, 28) uint8, labels (N,) int64.
    The same seed gives the same bytes.
    """
    rng = np.random.default_rng([seed, 2])
    labels = [rng.permutation(np.arange(count) % 10) for count in (train, test)]
    return [(_images(part, rng), part) for part in labels]


def _images(labels, rng):
    """(N,) int64 -> (N, 28, 28) uint8."""
    u = random.Random(int(rng.integers(2**32))).uniform  # ten times as fast as numpy's, one by one
    drawn = np.stack([_garment(DRAWERS[label], u) for label in labels])
    for start in range(0, len(labels), 250):  # in blocks that stay small
        part = slice(start, start + 250)
        gray = drawn[part] * _cloth(PATTERNED[labels[part]], rng)
        gray *= 1 + 0.03 * rng.standard_normal(gray.shape, np.float32)
        drawn[part] = np.clip(np.rint(gray), 0, 255)
    return drawn


def _garment(drawer, u):
    """One garment -> (28, 28) uint8. Layers are (points, gray, line width or 0: filled)."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (28 * ZOOM, 28 * ZOOM))
    canvas = ImageDraw.Draw(image)
    angle, slant = u(-0.04, 0.04), u(-0.03, 0.03)
    turn = np.array([[np.cos(angle), np.sin(angle) + slant], [-np.sin(angle), np.cos(angle)]])
    turn *= [u(0.95, 1.06), u(1.0, 1.09)]
    middle = np.array([14 + u(-0.6, 0.6), 14 + u(-0.5, 0.5)])
    layers = drawer(u)
    points = np.concatenate([points for points, _, _ in layers])
    flat = (((points - [0, 14]) @ turn + middle) * ZOOM).ravel().tolist()
    start = 0
    for points, gray, width in layers:
        end = start + 2 * len(points)
        level = int(min(max(255 * gray, 8), 255))
        if width:
            canvas.line(flat[start:end], level, max(1, round(width * ZOOM)), joint="curve")
        else:
            canvas.polygon(flat[start:end], level)
        start = end
    return np.asarray(image.reduce(ZOOM))


def _cloth(soft, rng):
    """What multiplies the gray: light, folds, stripes or checks, (n, 28, 28) float32.

    soft: (n,) float32, how much of stripes and folds each may have.
    """
    n, soft = len(soft), soft[:, None]
    fine = np.linspace(-1, 1, 28 * ZOOM, dtype=np.float32)
    t = fine.reshape(28, ZOOM).mean(1)

    def column(low, high):
        return rng.uniform(low, high, (n, 1)).astype(np.float32)

    def bars(low, high):
        wave = np.tanh(column(1, 4) * np.sin(column(low, high) * fine + column(0, 6)))
        return wave.reshape(n, 28, ZOOM).mean(2)

    kind = rng.choice(4, (n, 1), p=[0.68, 0.16, 0.08, 0.08])  # plain, bars, stripes, checks
    depth = column(0.08, 0.35) * soft
    down = 1 - 0.1 * column(0, 1) * t + depth * bars(9, 26) * np.isin(kind, (1, 3))
    across = 1 + column(-0.12, 0.12) * t - 0.1 * soft * t**2
    across = across + depth * bars(12, 28) * np.isin(kind, (2, 3))
    wave = column(3, 9)[:, :, None] * t + column(-5, 5)[:, :, None] * t[:, None]
    folds = 1 + (0.06 * soft + 0.02)[:, :, None] * np.sin(wave + column(0, 6)[:, :, None])
    return np.clip(folds * down[:, :, None] * across[:, None, :], 0.25, 1.3)


# --- Strokes ---------------------------------------------------------------------------------


def _smooth(points, rounds=2, closed=True):
    """Corners cut off a quarter at a time (Chaikin 1974, doi:10.1016/0146-664X(74)90028-8)."""
    return _corner_cutting(len(points), rounds, closed) @ points


@functools.cache
def _corner_cutting(n, rounds, closed):
    """The cut points as weights of the n points: a matrix, made once for each kind of outline."""
    points = np.eye(n)
    for _ in range(rounds):
        a, b = (points, np.roll(points, -1, 0)) if closed else (points[:-1], points[1:])
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, n)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def _fill(points, gray, edge=0.75, rounds=2):
    """A filled outline and its darker edge."""
    outline = _smooth(points, rounds)
    return [(outline, gray, 0), (np.concatenate([outline, outline[:1]]), gray * edge, 0.45)]


def _line(points, gray, width=0.5, rounds=2):
    return [(_smooth(points, rounds, closed=False), gray, width)]


def _both(points):
    """A right half, from top to bottom, and its mirror image: a closed outline."""
    right = np.asarray(points, float)
    return np.concatenate([right, right[::-1] * [-1, 1]])


def _mirrored(layers):
    return layers + [(points * [-1, 1], gray, width) for points, gray, width in layers]


def _gray(u):
    return 0.2 + 0.75 * u(0, 1) ** 0.7


# --- Clothes ---------------------------------------------------------------------------------


def _top(u, gray, sleeve, length, chest, neck, dip, flare=0.0):
    """Sleeves, then the trunk over them: shared by T-shirt, pullover, coat, shirt.

    sleeve: "short" or "long". Returns the layers, and the height y of the shoulders.
    """
    y, shoulder, arm = 3.0 + u(-0.5, 0.5), chest * u(0.92, 1.02), u(9.0, 10.5)
    layers = []
    if sleeve == "short":
        out, drop = shoulder + u(3.2, 4.6), u(9.5, 11.5)
        points = [(shoulder - 1.5, y + 0.6), (shoulder + 0.6, y + 1.6), (out, drop)]
        points += [(out - u(2.2, 3.0), drop + u(1.0, 1.8)), (chest * 0.8, arm)]
        layers += _mirrored(_fill(points, gray * u(0.86, 1.0), rounds=1))
    else:
        out, cuff, end = shoulder + u(3.4, 5.0), u(1.9, 2.6), u(21.5, 24.0)
        points = [(shoulder - 1.5, y + 0.5), (shoulder + 1.0, y + 2), (shoulder + 2.7, y + 9)]
        points += [(out, end), (out - cuff, end + 0.4), (chest + 0.9, y + 10), (chest * 0.8, arm)]
        layers += _mirrored(_fill(points, gray * u(0.84, 0.98), rounds=1))
    waist, hem = chest * u(0.88, 1.0), chest * u(0.92, 1.05) + flare
    half = [(0, y + dip), (neck * 0.75, y + 0.65 * dip), (neck, y - 0.2), (shoulder, y + 1.3)]
    half += [(chest * 0.95, arm), (waist, 0.45 * arm + 0.55 * length), (hem, length - 0.4)]
    half += [(hem - 0.5, length), (0, length + u(-0.2, 0.4))]
    return layers + _fill(_both(half), gray, rounds=1), y


def _t_shirt(u):
    gray, dip = _gray(u), u(1.2, 3.6)
    chest = u(6.3, 7.8)
    layers, y = _top(u, gray, "short", u(24, 26.2), chest, u(2.4, 3.6), dip)
    collar = [(2.6, y), (1.8, y + dip * 0.8), (0, y + dip + 0.5)]
    layers += _mirrored(_line(collar, gray * 0.7))
    if u(0, 1) < 0.35:  # a print on the chest
        w, h, top, ink = u(1.5, 4.2), u(1.2, 5.0), u(9, 12), u(0.1, 1.0)
        layers += [(_smooth(_both([(w, top), (w, top + h)]), int(u(0, 3))), ink, 0)]
    return layers


def _trouser(u):
    gray, y, end = _gray(u), u(1.2, 2.2), u(25.6, 27)
    waist, hip, fork = u(3.6, 4.8), u(4.6, 5.8), u(9, 11.5)
    outer, width = u(4.2, 6.6), u(2.3, 3.8)
    leg = [(0.1, y), (waist, y), (hip, y + 6), (0.5 * hip + 0.5 * outer + 0.1, 16), (outer, end)]
    leg += [(outer - width, end + 0.2), (0.5 * (outer - width) + 0.2, 17), (0.2, fork)]
    outline = np.asarray(leg)
    layers = _fill(outline, gray, rounds=1)
    layers += _fill(outline * [-1, 1], gray * u(0.93, 1.0), rounds=1)
    band = _both([(waist, y - 0.2), (waist + 0.2, y + 1.3)])
    layers += _fill(band, gray * u(0.6, 0.95), rounds=0)
    layers += _line([(0, y + 1.3), (0, fork)], gray * 0.6, 0.5, 0)
    layers += _mirrored(_line([(waist - 1.8, y + 1.5), (hip - 0.4, y + 4)], gray * 0.65, 0.5, 0))
    if u(0, 1) < 0.5:
        crease = [(0.55 * hip, y + 7), (outer - 0.5 * width, end - 0.5)]
        layers += _mirrored(_line(crease, gray * u(1.05, 1.25), 0.5, 0))
    return layers


def _pullover(u):
    gray, dip = _gray(u), u(1.0, 2.6)
    length = u(23.5, 26)
    layers, y = _top(u, gray, "long", length, u(6.0, 7.2), u(2.4, 3.2), dip)
    collar = [(-2.8, y), (-1.8, y + dip), (0, y + dip + 0.6), (1.8, y + dip), (2.8, y)]
    layers += _line(collar, gray * u(0.45, 0.75), u(0.9, 1.5))
    layers += _line([(-6, length - 1.6), (6, length - 1.6)], gray * 0.65, 0.7)
    return layers


def _dress(u):
    gray, y = _gray(u), u(1.2, 2.4)
    bust, waist, hem, end = u(3.0, 4.2), u(2.3, 3.3), u(4.0, 8.5), u(25.2, 27)
    level, strap = u(10, 13), u(0, 1)
    layers = []
    if strap < 0.3:  # sleeves
        out, down = bust + u(1.8, 3.0), u(7, 16)
        points = [(bust - 0.6, y + 0.4), (bust + 0.8, y + 1.2), (out, down)]
        points += [(out - 1.5, down + 0.5), (bust - 0.5, y + 5.5)]
        layers += _mirrored(_fill(points, gray * 0.92, rounds=1))
    neck, dip = u(1.4, 2.2), u(1.5, 4.0)
    half = [(0, y + dip), (neck * 0.8, y + dip * 0.6), (neck, y)]
    if strap > 0.6:  # thin straps
        half += [(neck + 0.9, y), (neck + 1.0, y + dip), (bust, y + dip + 1.2)]
    else:
        half += [(bust, y + 0.7), (bust - 0.2, y + 4.0), (bust, y + 5.5)]
    half += [(waist, level), (waist + 0.5 * (hem - waist) * u(0.8, 1.3), 0.6 * level + 0.4 * end)]
    layers += _fill(_both([*half, (hem, end - 0.3), (0, end + 0.3)]), gray, rounds=1)
    if u(0, 1) < 0.5:
        belt = gray * u(0.4, 0.8)
        layers += _line([(-waist, level), (0, level + 0.2), (waist, level)], belt, u(0.6, 1.4))
    for x in (-0.5, 0.05, 0.55):  # pleats
        run = [(x * waist, level + 1.5), (x * hem, end - 0.5)]
        layers += _line(run, gray * u(0.78, 0.95), 0.5, 0)
    return layers


def _coat(u):
    gray, length = _gray(u) * 0.95, u(25.6, 27)
    layers, y = _top(u, gray, "long", length, u(5.8, 6.8), u(2.2, 3.0), 1.2, flare=u(0, 1.0))
    deep, dark = u(8, 14), gray * u(0.3, 0.55)
    layers += [(np.array([(-2.0, y), (2.0, y), (0.2, y + deep * 0.7)]), gray * u(0.15, 0.6), 0)]
    for side in (-1, 1):
        lapel = np.array([(2.0, y - 0.8), (3.6, y + 2.4), (2.6, y + 3.4), (0.2, y + deep * 0.8)])
        layers += _fill(lapel * [side, 1], gray * u(0.88, 1.15), 0.55, rounds=0)
    layers += _line([(0, y + deep * 0.75), (0, length)], dark, u(0.6, 1.0))
    if u(0, 1) < 0.6:
        for step in np.arange(y + deep, length - 3, u(3.0, 4.2)):
            layers += [(np.array([(1.1, step), (1.1, step + 0.9)]), dark, 0.9)]
    pocket = u(16.5, 18.5)
    layers += _mirrored(_line([(2.6, pocket), (5.2, pocket - 0.5)], gray * 0.6, 0.7))
    if u(0, 1) < 0.3:
        layers += _line([(-6, u(14, 15)), (6, 14.5)], dark, 1.0)
    return layers


def _sandal(u):
    gray, thick = _gray(u), u(1.0, 2.0)
    heel, toe = u(13.0, 20.5), u(20.0, 21.5)  # heights of the foot bed
    flat, ground = heel > 18, toe + thick
    bed = [(-12, toe - 0.6), (-9, toe), (-4, toe - 0.1), (1, 0.65 * toe + 0.35 * heel)]
    bed += [(6, 0.25 * toe + 0.75 * heel), (11.5, heel)]
    bed = _smooth(bed, closed=False)
    under = bed[::-1] + [0, thick]
    layers = []
    if not flat and u(0, 1) < 0.55:  # a wedge fills the room below the bed, a heel does not
        wedge = np.concatenate([bed, [(12, ground), (-10, ground)]])
        layers += [(wedge, gray * u(0.5, 0.9), 0)]
    else:
        back = u(0.8, 3.0) if not flat else 4.0
        block = [(11.8, heel), (11.2, ground), (11.2 - back, ground)]
        block += [(10.6 - 1.3 * back, heel + 1)]
        layers += [(np.array(block), gray * 0.7, 0)]
    layers += [(np.concatenate([bed, under]), gray * u(0.6, 1.1), 0)]
    layers += _line(bed, min(1, gray * 1.3), 0.4, 0)
    wide, high = u(1.0, 1.9), u(3.5, 5.5)
    for x in np.linspace(-8.5, u(-5, -2), int(u(1, 4))):  # over the toes
        strap = [(x - 2.0, toe), (x - 0.6, toe - 0.8 * high)]
        strap += [(x + 2, toe - high), (x + 3.4, toe - 1)]
        layers += _line(strap, gray * u(0.85, 1.15), wide)
    ankle = heel - u(5, 7.5)
    layers += _line([(10.8, heel), (11.6, ankle + 2.5), (10.6, ankle)], gray, wide + 0.3)
    front = [(10.6, ankle + 0.5), (6, ankle - 0.3), (2.2, ankle + 2), (4.0, heel + 0.3)]
    layers += _line(front, gray * u(0.9, 1.1), wide)
    if u(0, 1) < 0.55:
        strap = [(2.8, ankle + 2.2), (-1, toe - high * 0.9), (-5, toe - 0.7 * high)]
        layers += _line(strap, gray, wide)
    return layers


def _shirt(u):
    gray = _gray(u)
    sleeve = "long" if u(0, 1) < 0.65 else "short"
    length = u(24, 26.5)
    layers, y = _top(u, gray, sleeve, length, u(6.0, 7.2), 2.4, 1.6, flare=u(-0.3, 0.3))
    light = min(1.0, gray * u(1.05, 1.35))
    dark = gray * u(0.4, 0.65)
    collar = [(-0.1, y + 2.2), (-2.3, y - 0.9), (-3.7, y + 1.2), (-2.2, y + 4.0)]
    layers += _mirrored(_fill(collar, light, 0.5, rounds=0))
    layers += [(np.array([(0, y + 2.2), (0, length - 0.3)]), light, 1.7)]
    layers += _mirrored(_line([(0.9, y + 3.5), (0.9, length - 0.3)], gray * 0.7, 0.3, 0))
    for step in np.arange(y + 4.5, length - 1.5, u(2.4, 3.4)):
        layers += [(np.array([(0, step), (0, step + 0.6)]), dark, 0.7)]
    if u(0, 1) < 0.4:
        x, top = u(2.2, 2.8), u(9.5, 11)
        pocket = [(x, top), (x + 2.6, top), (x + 2.6, top + 3), (x + 1.3, top + 3.6), (x, top + 3)]
        layers += _fill(pocket, gray * 1.05, 0.65, rounds=0)
    return layers


def _sneaker(u):
    gray, top, sole = _gray(u), u(9.5, 12), u(19.5, 21.2)
    heel, thick = u(10.0, 11.5) + top - 11, u(1.3, 2.4)
    under = sole - thick
    upper = [(12, heel), (10.5, heel - 0.3), (7.5, heel + u(0.8, 2.0)), (4.0, heel + 0.7)]
    upper += [(1.8, top - 0.8), (0.4, top + 0.2)]
    upper += [(-5.5, under - u(3.2, 4.4)), (-9, under - u(2.6, 3.4))]
    upper += [(-11.6, under - 1.6), (-12.2, under + 0.6), (12.4, under + 0.6), (11.8, under - 3)]
    layers = _fill(upper, gray, 0.7)
    shade = gray * u(0.4, 0.9) if u(0, 1) < 0.5 else min(1, gray * u(1.15, 1.6))
    toe_cap = [(-10, under - 2.6), (-7.2, under - 1.8), (-6.6, under)]
    layers += _line(toe_cap, gray * 0.65)
    mark = min(1, gray * u(1.2, 1.7)) if u(0, 1) < 0.6 else gray * 0.4
    if u(0, 1) < 0.5:
        for x in range(int(u(1, 4))):
            layers += _line([(2.6 + 1.9 * x, under - 4.8), (0.2 + 2 * x, under)], mark, 0.9, 0)
    elif u(0, 1) < 0.7:
        swing = [(-4, under - 2.5), (-1.5, under - 1.0), (9.5, under - 4.4)]
        layers += _line(swing, mark, u(0.8, 1.5))
    layers += _fill([(10.2, heel), (12, heel), (12, under), (9.2, under)], shade, rounds=1)
    for step in np.linspace(0.1, 0.8, 4):  # laces
        x, y = 0.8 - 6 * step, top + step * (under - 3.6 - top)
        layers += _line([(x - 0.4, y - 0.2), (x + 1.7, y + 1.2)], mark, 0.6, 0)
    end = [(-12.6, under), (12.6, under - 0.2), (12.8, sole - 0.3), (8, sole), (-10.5, sole)]
    white = u(0.75, 1.0) if u(0, 1) < 0.55 else gray * u(0.35, 0.8)
    return layers + _fill([*end, (-12.6, sole - 0.8)], white, 0.8, rounds=1)


def _bag(u):
    gray, top, end = _gray(u), u(9, 12.5), u(23.5, 26)
    upper, lower = u(7.5, 11.5), u(9.0, 12.2)
    layers, style = [], u(0, 1)
    if style < 0.8:
        high, reach, width = u(2.0, 5.5), u(0.4, 0.75) * upper, u(0.8, 1.5)
        arc = [(-reach, top + 1.5), (-reach * 0.95, high + 2), (-reach * 0.5, high)]
        arc = np.asarray(arc + [(-x, y) for x, y in arc[::-1]])
        if u(0, 1) < 0.4:
            layers += _line(arc + [0.8, -0.9], gray * 0.6, width)
        layers += _line(arc, gray * u(0.75, 1.1), width)
    else:
        top, end = top - 1.5, end - 1.5  # a clutch, without handle
    waist = 0.4 * upper + 0.6 * lower + u(0, 0.5)
    body = _both([(upper, top), (waist, 0.5 * (top + end)), (lower, end)])
    layers += _fill(body, gray, 0.65, rounds=1)
    dark, light = gray * u(0.35, 0.7), min(1, gray * u(1.2, 1.6))
    kind = u(0, 1)
    if kind < 0.5:  # a flap with its clasp
        fall = u(0.35, 0.65) * (end - top)
        flap = _both([(upper, top), (upper, top + fall * 0.7), (upper * 0.5, top + fall)])
        layers += _fill(flap, gray * u(0.85, 1.1), 0.5, rounds=1)
        layers += [(np.array([(0, top + fall - 1.2), (0, top + fall + 0.9)]), light, u(1.2, 2.4))]
    elif kind < 0.8:  # a pocket and a zip
        layers += _line([(-upper + 1, top + 1.6), (upper - 1, top + 1.6)], light, 0.5, 0)
        pocket = _both([(lower * 0.6, end - 7), (lower * 0.62, end - 1.6)])
        layers += _fill(pocket, gray * 0.95, 0.55, rounds=1)
    else:  # two belts
        x = u(0.35, 0.6) * upper
        layers += _mirrored(_line([(x, top), (x, end - 0.5)], dark, u(0.9, 1.6), 0))
    layers += _line([(-lower + 0.8, end - 0.8), (lower - 0.8, end - 0.8)], gray * 0.75, 0.5, 0)
    return layers


def _ankle_boot(u):
    gray, top, sole = _gray(u) * 0.97, u(2.0, 6.5), u(24.0, 26.2)
    raised = u(0, 3.2)  # a high heel lifts the back of the foot
    under, front, back = sole - u(1.0, 1.8), u(0.2, 2.2), u(10.2, 11.4)
    leg = [(front, top), (back, top - u(0, 0.8)), (back, top + 7)]
    leg += [(back + 0.8, under - 3 - raised)]
    leg += [(back + 0.8, under - raised + 0.5), (2, under - 0.6 * raised + 0.4), (-4, under + 0.4)]
    leg += [(-12, under + 0.4), (-12.2, under - 1.8), (-9.5, under - u(3.6, 4.6))]
    leg += [(-4, under - u(5.2, 6.6)), (front - 1.6, under - u(8.5, 10)), (front - 0.6, top + 5)]
    layers = _fill(leg, gray, 0.7, rounds=1)
    dark = gray * u(0.3, 0.6)
    heel = u(3.0, 6.5)
    block = [(back + 0.8, under - raised), (back + 0.6, sole)]
    block += [(back + 0.6 - heel, sole), (back - 0.2 - heel, under - 0.8 * raised)]
    layers += [(np.array(block), dark, 0)]
    bed = [(-12.3, sole - 0.4), (-12.2, under), (-3, under), (back - heel, under - 0.8 * raised)]
    bed += [(back - heel + 0.5, under - 0.8 * raised + 1.2), (-3, under + 1.2), (-10, sole)]
    layers += _fill(bed, dark, 0.9, rounds=0)
    style = u(0, 1)
    if style < 0.35:  # laces
        for step in np.linspace(0.1, 0.95, 5):
            x, y = front - 0.2 - 4.2 * step**2, top + 1 + step * (under - 8 - top)
            layers += _line([(x, y), (x + 2.6, y + 0.9)], min(1, gray * 1.5), 0.6, 0)
        seam = [(front + 2.8, top + 1), (front + 1.8, under - 8), (-2, under - 4)]
        layers += _line(seam, dark, 0.5)
    elif style < 0.6:  # a zip
        layers += _line([(6, top + 0.3), (5.6, under - 4 - raised)], min(1, gray * 1.4), 0.7, 0)
    elif style < 0.8:  # an elastic side
        side = [(4, top + 0.4), (8, top + 0.4), (6.8, under - 7), (5, under - 7)]
        layers += _fill(side, gray * 0.55, 0.8, rounds=1)
    else:  # a strap and its buckle
        level = under - u(6.5, 8.5)
        layers += _line([(front - 2.6, level + 0.6), (back + 0.4, level - 0.8)], dark, 1.2, 0)
        layers += [(np.array([(6, level - 1.0), (6, level + 0.6)]), min(1, gray * 1.7), 1.3)]
    layers += _line([(front, top + 0.9), (back, top + 0.5)], gray * 0.65, 0.6, 0)
    return layers


DRAWERS = (_t_shirt, _trouser, _pullover, _dress, _coat)  # by class
DRAWERS += (_sandal, _shirt, _sneaker, _bag, _ankle_boot)
