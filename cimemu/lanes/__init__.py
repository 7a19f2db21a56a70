"""Registers of 32 bytes as values that kernels compute with, and the one decorator that compiles kernels."""
