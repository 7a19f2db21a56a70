"""The compiled event engine: kernels and their twins."""
