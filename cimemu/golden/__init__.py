"""Golden vectors for RTL: what every wire of a layer's macros must carry, and where a dump differs from it."""
