"""Engine `planes`: input slices of 32 positions in a register, the rows of a column added by adders of single bits.

Serves one-bit cells of up to 255 rows in a group, behind converters that clip (`clipped`: step 1 from 0) or have real,
ascending levels (`leveled`). Its bound is some five bit operations for eight conversions of 32 positions and a row that is
programmed, in registers of 256 bits."""
