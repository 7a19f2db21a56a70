"""Random numbers by counters: keyed words, normal quantiles, and what draws do to cells and partial sums."""
