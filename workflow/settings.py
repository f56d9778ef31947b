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
    """(columns, rows): each setting's mean ± standard deviation over seeds of each score.

    A ≠ stands beside what Welch's test tells from the first setting and beside nothing else,
    however far it is; and nowhere if `compare.differences` says what stands in the way. The last
    row is the sampling error of one run, the root mean square over settings.
    """
    comparable = not any("do not compare" in line for line in differences)
    keys = [key for key in MAIN if any(key in found for found in summed.values())]
    seeds = [max((of["n"] for of in found.values()), default=0) for found in summed.values()]
    labels, columns = [], []
    for key in keys:
        spec, found = tables.SPECS[key], [of.get(key) for of in summed.values()]
        labels.append(f"{spec.label} {spec.better}")
        columns.append(_column(found, seeds, spec.digits, comparable))
    rows = zip([*summed, "sampling error"], [*map(str, seeds), ""], *columns, strict=True)
    return ("setting", "seeds", *labels), list(rows)


def _column(found, seeds, digits, comparable):
    """The cells of one score: of each setting, then the sampling error."""
    there = [score for score in found if score]
    cells, squares = [], [score["error"] ** 2 for score in there if score["error"] is not None]
    for score, runs in zip(found, seeds, strict=True):
        cell = tables.cell(score | {"value": score["mean"], "digits": digits}) if score else "–"
        if score and score["n"] < runs:
            cell += f" (of {score['n']})"
        if comparable and score and found[0] and score is not found[0]:
            p = welch(score["values"], found[0]["values"])
            cell += " ≠" * (p is not None and p < LEVEL / (len(there) - 1))
        cells.append(cell)
    error = statistics.fmean(squares) ** 0.5 if squares else None
    return [*cells, tables.number(error, digits + 1)]


def welch(one, other):
    """The p of Welch's t-test for equal means; None where a seed or all spread is lacking."""
    from scipy import stats  # here: it takes half a second

    if min(len(one), len(other)) < 2 or len(set(one)) == len(set(other)) == 1:
        return None
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)
