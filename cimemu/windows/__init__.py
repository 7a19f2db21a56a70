"""A layer's feature maps cut into strips, and their windows as rows of the macro's input matrix."""
