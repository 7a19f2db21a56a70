"""Training for the macro: the extra `cimemu[torch]`. Nothing here is imported by the emulator."""
