// 16 rows x 4 outputs: signed weights of 4 bits written row by row, unsigned inputs of 4 bits, a bit a cycle.
module row_macro (
    input clk,
    input rst_n,
    input wr,
    input [3:0] wr_row,
    input [15:0] wr_weights,
    input go,
    input [63:0] x,
    output reg fin,
    output reg [47:0] y
);
  reg signed [3:0] w[0:63];
  reg [1:0] place;
  reg run;
  reg signed [11:0] acc[0:3];
  reg signed [11:0] sum[0:3];
  integer r, n;
  always @* begin
    for (n = 0; n < 4; n = n + 1) begin
      sum[n] = 0;
      for (r = 0; r < 16; r = r + 1) if (x[4*r+place]) sum[n] = sum[n] + w[4*r+n];
    end
  end
  always @(posedge clk) begin
    fin <= 0;
    if (wr) for (n = 0; n < 4; n = n + 1) w[4*wr_row+n] <= wr_weights[4*n+:4];
    if (!rst_n) run <= 0;
    else if (go) begin
      run <= 1;
      place <= 0;
      for (n = 0; n < 4; n = n + 1) acc[n] <= 0;
    end else if (run) begin
      place <= place + 1;
      for (n = 0; n < 4; n = n + 1) acc[n] <= acc[n] + (sum[n] <<< place);
      if (place == 3) begin
        run <= 0;
        fin <= 1;
        for (n = 0; n < 4; n = n + 1) y[12*n+:12] <= acc[n] + (sum[n] <<< place);
      end
    end
  end
endmodule
