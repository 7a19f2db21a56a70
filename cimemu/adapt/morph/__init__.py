"""Two-stage macro-aware adaptation: shrink, fill the macros, then train with the macro in the loop."""
