"""Hardware beside the emulator: a generated SystemVerilog macro, a C99 model, and a bench for a module of one's own."""
