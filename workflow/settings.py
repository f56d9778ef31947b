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


def table(summed, differences=()):
    """(columns, rows): a row for each score and setting, and how it differs from the first one.

    A difference that the test does not show is none here, however large it is; nor is there one
    where what `compare.differences` says stands in the way.
    """
    first, comparable = next(iter(summed)), not any("do not compare" in d for d in differences)
    columns = ("score", "setting", "mean", "± seeds", "n", "± draws", f"less “{first}”", "p")
    rows = []
    for key in MAIN:
        spec, there = (
            tables.SPECS[key],
            {name: of[key] for name, of in summed.items() if key in of},
        )
        for name, found in there.items():
            by, p = "", ""
            if name != first and first in there and comparable:
                by, p = _difference(found, there[first], len(there) - 1, spec.digits)
            spread, error = (tables.number(found[k], spec.digits + 1) for k in ("std", "error"))
            mean, n = tables.number(found["mean"], spec.digits), str(found["n"])
            rows.append((f"{spec.label} {spec.better}", name, mean, spread, n, error, by, p))
    if len(summed) == 1:  # nothing to compare it with
        columns, rows = columns[:-2], [row[:-2] for row in rows]
    return columns, rows


def _difference(found, reference, tests, digits):
    p = welch(found["values"], reference["values"])
    if p is None:
        return "too few seeds", "–"
    by = found["mean"] - reference["mean"]
    shown = ("+" if by > 0 else "−") + tables.number(abs(by), digits)
    small = f"{p:.3f}" if p >= 0.0005 else "< 0.0005"
    return shown if p < LEVEL / tests else "none shown", small


def welch(one, other):
    """The p of Welch's t-test for equal means; None where a seed or all spread is lacking."""
    from scipy import stats  # here: it takes half a second

    if min(len(one), len(other)) < 2 or len(set(one)) == len(set(other)) == 1:
        return None
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)
