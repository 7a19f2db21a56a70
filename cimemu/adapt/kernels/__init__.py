"""Training steps compiled: kernels and their twins."""
