"""Workloads: a network, the data to run it on and to calibrate it with."""
