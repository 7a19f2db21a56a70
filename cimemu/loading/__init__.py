"""Workloads by name, by file, or of a network file alone."""
