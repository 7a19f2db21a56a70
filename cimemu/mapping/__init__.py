"""Where a network's matrices go: cut into macro-sized blocks, placed on macros, planned."""
