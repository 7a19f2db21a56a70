"""What golden vectors reach of a macro, and operations that reach what others leave out."""
