"""System claims of papers, run on the emulator: one module a claim; `cimemu claims` prints them."""
