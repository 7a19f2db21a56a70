"""Engine `planes`: input slices of 32 or 64 positions in a register, the rows of a column added by adders of single bits.

Serves one-bit cells, any number of rows in a group. Where the processor has AVX-512 with VBMI, VNNI and GFNI, registers have
64 positions and the converter may be any whose levels lie on a grid: what each sum stands for is a table of bytes
(`tables`). With AVX2 alone they have 32, and the converter must clip (`clipped`: step 1 from 0). Converters of real
levels on no grid are served on both (`ranked`). Its bound are the adders: five bit operations
for every two rows in registers of 32 bytes, two in registers of 64.
"""
