// A macro behind a bus, as another stranger wrote it: 8 rows, 8 bitlines, a 6-bit converter for all of them in turn.
//   0x00 + row   cells of a row, bitline 0 leftmost     0x40  go (any write)        0x80 + 8*step + bitline  codes
//   0x20 + row   input of a row, 6 bits                 0x41  bit 3: ready          0xc0 + unit  result, 16 bit
// Inputs go in as two slices of 3 bits. Weights are 4 cells with an offset of 8. Sums saturate at 12 bits.
module cim_bus (
    input wire ck,
    input wire nreset,
    input wire [7:0] a,
    input wire we,
    input wire [15:0] d,
    output reg [15:0] q
);
  reg [7:0] cell_row[0:7];
  reg [5:0] x[0:7];
  reg [5:0] code[0:15];
  reg signed [11:0] acc[0:1];
  reg [9:0] total;
  reg [3:0] state;  // 0 idle, 1 settle, 2 convert, 3 add, 4 done
  reg step;
  reg [2:0] line;
  reg [6:0] sample[0:7];
  reg ready;
  integer r, c, u;
  reg [6:0] s;
  reg signed [15:0] next;

  always @(posedge ck) begin
    if (!nreset) begin
      state <= 0;
      ready <= 1;
    end else begin
      if (we && a < 8'h08) cell_row[a[2:0]] <= d[7:0];
      if (we && a >= 8'h20 && a < 8'h28) x[a[2:0]] <= d[5:0];
      case (state)
        0: if (we && a == 8'h40) begin
          state <= 1;
          ready <= 0;
          step <= 0;
          acc[0] <= 0;
          acc[1] <= 0;
          total <= 0;
        end
        1: begin
          for (c = 0; c < 8; c = c + 1) begin
            s = 0;
            for (r = 0; r < 8; r = r + 1)
              if (cell_row[r][7-c]) s = s + (step ? x[r][5:3] : x[r][2:0]);
            sample[c] <= s;
          end
          line <= 0;
          state <= 2;
        end
        2: begin
          code[{step, line}] <= sample[line][5:0];
          line <= line + 1;
          if (line == 7) state <= 3;
        end
        3: begin
          for (u = 0; u < 2; u = u + 1) begin
            next = code[{step, u[0], 2'd0}] + (code[{step, u[0], 2'd1}] << 1) + (code[{step, u[0], 2'd2}] << 2) + (code[{step, u[0], 2'd3}] << 3);
            next = acc[u] + (step ? next <<< 3 : next);
            acc[u] <= (next > 2047) ? 12'sd2047 : next[11:0];
          end
          step <= 1;
          state <= step ? 4 : 1;
        end
        4: begin
          s = 0;
          total <= x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7];
          ready <= 1;
          state <= 0;
        end
      endcase
    end
    if (a[7:4] == 4'h8) q <= code[a[3:0]];
    else if (a[7:4] == 4'hc) q <= {{4{acc[a[0]][11]}}, acc[a[0]]} - (total << 3);
    else q <= {12'd0, ready, 3'd0};
  end
endmodule
