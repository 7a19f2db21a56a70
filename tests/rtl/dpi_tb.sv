// The C model in SystemVerilog: programme it, run an operation, print what it gives.
module dpi_tb;
  `include "cim_macro_model_dpi.svh"
  chandle m;
  longint cycles;
  initial begin
    m = cim_macro_new();
    if (cim_macro_use(m, 3, 2) == 0) $fatal(1);
    for (int r = 0; r < 3; r = r + 1)
      for (int c = 0; c < 8; c = c + 1) cim_macro_cell(m, r, c, (r * 5 + c * 3) % 2);
    for (int r = 0; r < 3; r = r + 1) cim_macro_input(m, r, 7 - 2 * r);
    cycles = cim_macro_go(m);
    $display("RESULT %0d %0d %0d %0d %0d", cycles, cim_macro_output(m, 0), cim_macro_output(m, 1), cim_macro_code(m, 1, 3),
             cim_macro_code_cycle(m, 2, 7));
    cim_macro_free(m);
    $finish;
  end
endmodule
