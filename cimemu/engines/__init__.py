"""The ways from a programmed matrix and its inputs to its outputs: a folder an engine, and the one place that chooses."""
