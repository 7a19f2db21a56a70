"""Engine `exact`: the integer product itself, where no converter can leave the range in which its value is the psum.

Serves matrices whose programmed levels prove that every partial sum meets a converter level of its own value: no codes
asked for, no varied cells, no accumulator that could overflow. A layer's whole convolution is one call of `layer.ExactLayer`
(16-bit products added in pairs, no window matrix); a single matrix goes through BLAS in float32 or float64 where all sums
are exact there. Its bound is that of an int8 or int16 matrix product on the processor."""
