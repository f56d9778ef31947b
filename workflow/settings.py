"""Luck and settings: which scores differ because of what was set, and which may by chance.

Runs that differ in nothing but the training seed are one setting, whose scores have a mean and a
standard deviation; two settings are called different only by Welch's t-test.
"""

import statistics

from helpers.scores import tables

# the scores on which settings are compared
MAIN = ("loss", "fid", "fid_mixture", "coverage", "agreement")
LEVEL = 0.05  # of all comparisons of a score together: each of k is held to LEVEL / k


def summary(settings):
    """{setting: {score: its numbers}} of {setting: results, one a seed}, for the scores of MAIN.

    The numbers: values, and their n, mean and std over seeds (None for one); error, the sampling
    error of one run, is the root mean square of the runs' own ± (None without).
    """
    summed = {name: {} for name in settings}
    for key in MAIN:
        for name, results in settings.items():
            entries = [result["scores"].get(key, {"value": None}) for result in results]
            entries = [entry for entry in entries if entry["value"] is not None]
            values = [entry["value"] for entry in entries]
            squares = [entry["std"] ** 2 for entry in entries if entry["std"] is not None]
            if values:
                summed[name][key] = {
                    "values": values,
                    "n": len(values),
                    "mean": statistics.fmean(values),
                    "std": statistics.stdev(values) if len(values) > 1 else None,
                    "error": statistics.fmean(squares) ** 0.5 if squares else None,
                }
    return summed


def means(summed):
    """(columns, rows): a row for each score and setting."""
    columns = ("score", "setting", "mean", "standard deviation", "seeds", "error of one run")
    rows = []
    for key in MAIN:
        spec = tables.SPECS[key]
        for name, found in ((name, of[key]) for name, of in summed.items() if key in of):
            std, error = (tables.number(found[what], spec.digits + 1) for what in ("std", "error"))
            mean = tables.number(found["mean"], spec.digits)
            rows.append((f"{spec.label} {spec.better}", name, mean, std, str(found["n"]), error))
    return columns, rows


def tests(summed, differences=()):
    """(columns, rows): for each score, each setting against the first of them.

    A difference that the test does not show is none here, however large it is. No row for one
    setting, nor where what `compare.differences` says stands in the way.
    """
    (first, base), *others = summed.items()
    others = [] if any("do not compare" in line for line in differences) else others
    rows = []
    for key in (key for key in MAIN if key in base):  # in this order, which JSON does not keep
        spec, reference = tables.SPECS[key], base[key]
        against = [(name, of[key]) for name, of in others if key in of]
        for name, found in against:
            p = welch(found["values"], reference["values"])
            said = "none shown"
            if p is not None and p < LEVEL / len(against):
                by = found["mean"] - reference["mean"]
                said = ("+" if by > 0 else "−") + tables.number(abs(by), spec.digits)
            shown = "too few seeds" if p is None else f"{p:.2g}"
            rows.append((f"{spec.label} {spec.better}", name, said, shown))
    return ("score", "setting", f"difference from “{first}”", "p"), rows


def welch(one, other):
    """The p of Welch's t-test for equal means; None where a seed or all spread is lacking."""
    from scipy import stats  # here: it takes half a second

    if min(len(one), len(other)) < 2 or len(set(one)) == len(set(other)) == 1:
        return None
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)
