// A digital macro as a stranger wrote it: 8 x 4 products of 4 bit by 4 bit, an adder tree, no clock.
// Activation 0 is the leftmost nibble. Weights are two's complement, row by row, leftmost first. Results: unit 3 leftmost.
module dot_tree (
    input  wire [31:0]  act,
    input  wire [127:0] wt,
    output wire [47:0]  dot
);
  genvar u, k;
  generate
    for (u = 0; u < 4; u = u + 1) begin : unit
      wire signed [11:0] p[0:7];
      for (k = 0; k < 8; k = k + 1) begin : mul
        wire [3:0] a = act[31-4*k-:4];
        wire signed [3:0] w = wt[127-4*(4*k+u)-:4];
        assign p[k] = $signed({1'b0, a}) * w;
      end
      wire signed [11:0] l0 = p[0] + p[1];
      wire signed [11:0] l1 = p[2] + p[3];
      wire signed [11:0] l2 = p[4] + p[5];
      wire signed [11:0] l3 = p[6] + p[7];
      wire signed [11:0] m0 = l0 + l1;
      wire signed [11:0] m1 = l2 + l3;
      assign dot[12*u+:12] = m0 + m1;
    end
  endgenerate
endmodule
