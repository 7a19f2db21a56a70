"""HDF5 files that are built in memory: the HDF5 library does not survive a disk that fills under it."""

import os

import h5py


def memory_file(block_bytes: int = 1 << 22) -> h5py.File:
    """A new file that never touches a disk; its bytes are `file.id.get_file_image()` after a flush."""
    name = f"memory_{os.urandom(8).hex()}.h5"  # the library tells open files apart by name
    return h5py.File(name, "w", driver="core", backing_store=False, block_size=block_bytes)
