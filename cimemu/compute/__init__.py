"""What the values are: weights in cells, inputs on wordlines, psums through converters, layer by layer."""
