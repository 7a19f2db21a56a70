"""What a programmed matrix is: cells, converters, variation, and the naive twin that says what its values are."""
