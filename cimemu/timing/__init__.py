"""When things happen: a value-free task graph of one image, a SimPy model of it, and a compiled equal."""
