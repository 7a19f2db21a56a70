"""The trace: one HDF5 file a run, described by one table, readable with h5py, pandas and xarray alone."""
