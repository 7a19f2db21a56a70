"""When things happen: one value-free task graph, run by SimPy (the meaning) or by a compiled engine (its equal)."""
