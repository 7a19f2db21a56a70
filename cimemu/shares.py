"""Intervals of shares: how sure a count of successes makes us of the chance behind it."""

from cimemu.errors import CimemuError

LEVEL = 0.95


def clopper_pearson(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a chance (Clopper and Pearson, Biometrika 26, 1934): it covers at least `level`.

    >>> low, high = clopper_pearson(19, 20)
    >>> round(low, 4), round(high, 4)
    (0.7513, 0.9987)
    """
    from scipy.stats import beta

    if not 0 <= successes <= trials or trials < 1:
        raise CimemuError(f"interval: {successes} of {trials}, must be 0 .. trials, with one trial at least")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def trials_for(share: float, width: float, most: int, level: float = LEVEL) -> int | None:
    """The fewest trials whose interval is no wider than `width` if `share` of them succeed; None where `most` are too few."""
    low, high = 0, 1
    while _width(share, high, level) > width:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _width(share, middle, level) <= width else (middle, high)
    return high


def _width(share: float, trials: int, level: float) -> float:
    """Of the interval's width at `trials`, for a number of successes that need not be whole: so it falls with trials."""
    from scipy.stats import beta

    hits, tail = share * trials, (1 - level) / 2
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits >= trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))
    return high - low
