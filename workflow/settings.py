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
    seeds = [max((of["n"] for of in found.values()), default=0) for found in summed.values()]
    columns, labels = [], []
    for key, found in _by_score(summed):
        digits, cells = tables.SPECS[key].digits, []
        unlike = _told_apart(found, differences)
        for score, runs, differs in zip(found, seeds, unlike, strict=True):
            score = score or {"mean": None, "std": None, "n": runs}
            cell = tables.cell(score | {"value": score["mean"], "digits": digits})
            fewer = f" (of {score['n']})" if score["n"] < runs else ""
            cells.append(cell + fewer + " ≠" * differs)
        columns.append([*cells, tables.number(_sampling_error(found), digits + 1)])
        labels.append(f"{tables.SPECS[key].label} {tables.SPECS[key].better}")
    rows = zip([*summed, "sampling error"], [*map(str, seeds), ""], *columns, strict=True)
    return ("setting", "seeds", *labels), list(rows)


def said(summed, differences=()):
    """What the test tells from the first setting; of a single one, its means, luck and draws."""
    first, told = next(iter(summed)), []
    for key, found in _by_score(summed):
        spec, error, own = tables.SPECS[key], _sampling_error(found), found[0]
        if len(summed) == 1:
            cell = tables.cell(own | {"value": own["mean"], "digits": spec.digits})
            draws = f" (draws {tables.number(error, spec.digits + 1)})" if error else ""
            told.append(f"{spec.label} {cell}{draws}")
        zipped = zip(summed, found, _told_apart(found, differences), strict=True)
        apart = [
            f"“{name}” ({tables.number(score['mean'], spec.digits)})"
            for name, score, differs in zipped
            if differs
        ]
        if apart:
            told.append(f"{spec.label} of {', '.join(apart)}")
    if len(summed) == 1:
        text = "; ".join(told)
        return f"{text[:1].upper()}{text[1:]}."
    shown = "; ".join(told) or "nothing"
    return f"Shown to differ from “{first}”: {shown}."


def _by_score(summed):
    """(key, [numbers of each setting, or None]) of the scores of MAIN that there are."""
    for key in MAIN:
        found = [of.get(key) for of in summed.values()]
        if any(found):
            yield key, found


def _sampling_error(found):
    squares = [score["error"] ** 2 for score in found if score and score["error"] is not None]
    return statistics.fmean(squares) ** 0.5 if squares else None


def _told_apart(found, differences):
    """Whether the test calls each setting's mean of a score different from the first one's."""
    first, *others = found
    tests = sum(score is not None for score in others)
    comparable = first and not any("do not compare" in line for line in differences)
    unlike = [False]
    for score in others:
        p = welch(score["values"], first["values"]) if score and comparable else None
        unlike.append(p is not None and p < LEVEL / tests)
    return unlike


def welch(one, other):
    """The p of Welch's t-test for equal means; None where a seed or all spread is lacking."""
    from scipy import stats  # here: it takes half a second

    if min(len(one), len(other)) < 2 or len(set(one)) == len(set(other)) == 1:
        return None
    return float(stats.ttest_ind(one, other, equal_var=False).pvalue)
