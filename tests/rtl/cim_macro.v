// A compute-in-memory macro as synthesizable Verilog: the RTL twin of `cimemu.Macro`.
//
// One operation multiplies an input vector with the programmed cells. Groups of ACTIVE_ROWS wordlines are
// raised one after the other, inputs DAC_BITS at a time (least significant slice first). Every column's sum is
// sampled and held, converters are shared by COLUMNS_PER_ADC neighbouring columns, codes are shifted and added.
// The column sum is the behavioural stand-in for the analog array; all else is what a chip would hold.
//
// Cycle behaviour (one operation, G groups, I input slices):
//   OVERLAP = 0: G*I*(DRIVE + CONVERT) + SHIFT_ADD_CYCLES
//   OVERLAP = 1: DRIVE + (G*I-1)*max(DRIVE, CONVERT) + CONVERT + SHIFT_ADD_CYCLES  (two samples per column)
// with DRIVE = WORDLINE_CYCLES + SAMPLE_CYCLES and CONVERT = ROUNDS * ADC_CYCLES.
module cim_macro #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,
    parameter ACTIVE_ROWS = 8,
    parameter ROWS_USED = 8,
    parameter COLUMNS_USED = 8,
    parameter CELL_BITS = 1,
    parameter INPUT_BITS = 4,
    parameter SIGNED_INPUT = 0,
    parameter DAC_BITS = 1,
    parameter WEIGHT_BITS = 4,
    parameter SLICES = 4,        // weight slices of one polarity
    parameter POLARITIES = 1,    // 2: plus columns, then minus columns (differential)
    parameter LAST_NEGATIVE = 0, // 1: the last weight slice counts negative (two's complement)
    parameter OFFSET = 1,        // 1: subtract 2^(WEIGHT_BITS-1) * sum of inputs (offset encoding)
    parameter COLUMNS_PER_ADC = 4,
    parameter ADC_BITS = 4,
    parameter ADC_CYCLES = 4,
    parameter WORDLINE_CYCLES = 1,
    parameter SAMPLE_CYCLES = 1,
    parameter SHIFT_ADD_CYCLES = 1,
    parameter OVERLAP = 0,
    parameter PSUM_BITS = 16,
    parameter ACC_BITS = 40
) (
    input wire clk,
    input wire rst,
    // programming port: one row of cells, one converter threshold
    input wire cell_write,
    input wire [31:0] cell_row,
    input wire [COLUMNS*CELL_BITS-1:0] cell_levels,
    input wire threshold_write,
    input wire [31:0] threshold_index,
    input wire [PSUM_BITS-1:0] threshold_value,
    // operation
    input wire start,
    input wire [ROWS*INPUT_BITS-1:0] inputs,
    output reg busy,
    output reg done,
    // the slice on the wordlines of every row, while a step is driven
    output wire wordlines_valid,
    output wire [31:0] wordlines_step,
    output reg [ROWS*DAC_BITS-1:0] wordlines,
    // every finished conversion round, and the running sums after it
    output reg code_valid,
    output reg [31:0] code_step,
    output reg [31:0] code_round,
    output reg [((COLUMNS+COLUMNS_PER_ADC-1)/COLUMNS_PER_ADC)*ADC_BITS-1:0] codes,
    output reg [(COLUMNS/(SLICES*POLARITIES))*ACC_BITS-1:0] sums,
    output reg [(COLUMNS/(SLICES*POLARITIES))*ACC_BITS-1:0] outputs
);
  localparam ADCS = (COLUMNS + COLUMNS_PER_ADC - 1) / COLUMNS_PER_ADC;
  localparam COLUMNS_PER_OUTPUT = SLICES * POLARITIES;
  localparam OUTPUTS = COLUMNS / COLUMNS_PER_OUTPUT;
  localparam GROUPS = (ROWS_USED + ACTIVE_ROWS - 1) / ACTIVE_ROWS;
  localparam INPUT_SLICES = (INPUT_BITS + DAC_BITS - 1) / DAC_BITS;
  localparam STEPS = GROUPS * INPUT_SLICES;
  localparam DRIVE = WORDLINE_CYCLES + SAMPLE_CYCLES;
  localparam ROUNDS = (COLUMNS_USED < COLUMNS_PER_ADC) ? COLUMNS_USED : COLUMNS_PER_ADC;
  localparam CONVERT = ROUNDS * ADC_CYCLES;
  localparam LAST_CODE = (1 << ADC_BITS) - 1;

  reg [CELL_BITS-1:0] cells[0:ROWS*COLUMNS-1];
  reg [PSUM_BITS-1:0] thresholds[0:LAST_CODE];  // entry k-1 holds t_k; the last entry is unused
  reg [ROWS*INPUT_BITS-1:0] x;

  // --- wordlines: the slice of every raised row -----------------------------------------------------------
  reg [31:0] drive_step, drive_count;
  reg driving, drive_held;  // held: sampled, but the converters are still busy
  wire [31:0] drive_group = drive_step / INPUT_SLICES;
  wire [31:0] drive_slice = drive_step % INPUT_SLICES;

  reg [PSUM_BITS-1:0] column_sum[0:COLUMNS-1];
  reg [INPUT_SLICES*DAC_BITS-1:0] row_value;
  reg [DAC_BITS-1:0] row_slice;
  integer r, c;
  assign wordlines_valid = driving;
  assign wordlines_step = drive_step;
  always @* begin
    wordlines = 0;
    for (c = 0; c < COLUMNS; c = c + 1) column_sum[c] = 0;
    for (r = 0; r < ROWS_USED; r = r + 1) begin
      row_value = 0;
      row_value[INPUT_BITS-1:0] = x[r*INPUT_BITS+:INPUT_BITS];
      row_slice = row_value >> (drive_slice * DAC_BITS);
      if (r / ACTIVE_ROWS == drive_group) begin
        wordlines[r*DAC_BITS+:DAC_BITS] = row_slice;
        for (c = 0; c < COLUMNS_USED; c = c + 1)
          column_sum[c] = column_sum[c] + row_slice * cells[r*COLUMNS+c];
      end
    end
  end

  // --- sample and hold, converters --------------------------------------------------------------------------
  reg [PSUM_BITS-1:0] sample[0:COLUMNS-1];  // what the converters look at
  reg [31:0] convert_step, convert_count;
  reg converting;
  wire [31:0] convert_round = convert_count / ADC_CYCLES;
  wire round_ends = converting && (convert_count % ADC_CYCLES == ADC_CYCLES - 1);
  wire convert_ends = converting && (convert_count == CONVERT - 1);
  wire drive_ends = driving && (drive_count == DRIVE - 1);
  // A finished sample goes to the converters as soon as they are free.
  wire handover = (drive_ends || drive_held) && (!converting || convert_ends);

  function [ADC_BITS-1:0] convert(input [PSUM_BITS-1:0] psum);
    integer k;
    begin
      convert = 0;
      for (k = 0; k < LAST_CODE; k = k + 1)
        if (thresholds[k] <= psum) convert = convert + 1'b1;
    end
  endfunction

  // --- shift-add --------------------------------------------------------------------------------------------
  reg signed [ACC_BITS-1:0] accumulator[0:OUTPUTS-1];
  reg signed [ACC_BITS-1:0] input_sum, row_signed, weighted;
  reg finishing;
  reg [31:0] finish_count;
  integer a, n, s, column;
  reg [ADC_BITS-1:0] code;

  always @(posedge clk) begin
    done <= 0;
    code_valid <= 0;
    if (cell_write)
      for (c = 0; c < COLUMNS; c = c + 1)
        cells[cell_row*COLUMNS+c] <= cell_levels[c*CELL_BITS+:CELL_BITS];
    if (threshold_write) thresholds[threshold_index] <= threshold_value;

    if (rst) begin
      busy <= 0;
      driving <= 0;
      drive_held <= 0;
      converting <= 0;
      finishing <= 0;
    end else if (start && !busy) begin
      busy <= 1;
      x <= inputs;
      driving <= 1;
      drive_held <= 0;
      drive_step <= 0;
      drive_count <= 0;
      converting <= 0;
      finishing <= 0;
      for (n = 0; n < OUTPUTS; n = n + 1) accumulator[n] = 0;
    end else if (busy) begin
      if (driving && !drive_ends) drive_count <= drive_count + 1;
      if (drive_ends && !handover) begin
        driving <= 0;
        drive_held <= 1;
      end
      if (converting && !convert_ends) convert_count <= convert_count + 1;

      if (round_ends) begin
        code_valid <= 1;
        code_step <= convert_step;
        code_round <= convert_round;
        for (a = 0; a < ADCS; a = a + 1) begin
          column = a * COLUMNS_PER_ADC + convert_round;
          if (column < COLUMNS_USED && convert_round < COLUMNS_PER_ADC) begin
            code = convert(sample[column]);
            codes[a*ADC_BITS+:ADC_BITS] <= code;
            n = column / COLUMNS_PER_OUTPUT;
            s = column % COLUMNS_PER_OUTPUT;
            if (n < OUTPUTS) begin
              weighted = code;
              weighted = weighted <<< ((s % SLICES) * CELL_BITS);
              weighted = weighted <<< ((convert_step % INPUT_SLICES) * DAC_BITS);
              if (s >= SLICES) weighted = -weighted;
              if (LAST_NEGATIVE && s == SLICES - 1) weighted = -weighted;
              if (SIGNED_INPUT && convert_step % INPUT_SLICES == INPUT_SLICES - 1) weighted = -weighted;
              // blocking on purpose: several columns of one output may be converted in the same round
              accumulator[n] = accumulator[n] + weighted;
            end
          end else codes[a*ADC_BITS+:ADC_BITS] <= 0;
        end
        for (n = 0; n < OUTPUTS; n = n + 1) sums[n*ACC_BITS+:ACC_BITS] <= accumulator[n];
      end

      if (handover) begin
        for (c = 0; c < COLUMNS; c = c + 1) sample[c] <= column_sum[c];
        converting <= 1;
        convert_step <= drive_step;
        convert_count <= 0;
        drive_held <= 0;
        driving <= 0;
        if (OVERLAP && drive_step + 1 < STEPS) begin
          driving <= 1;
          drive_step <= drive_step + 1;
          drive_count <= 0;
        end
      end else if (convert_ends) begin
        converting <= 0;
        if (convert_step + 1 == STEPS) begin
          finishing <= 1;
          finish_count <= 1;
        end else if (!OVERLAP) begin
          driving <= 1;
          drive_step <= drive_step + 1;
          drive_count <= 0;
        end
      end

      if (finishing) finish_count <= finish_count + 1;
      if ((finishing && finish_count == SHIFT_ADD_CYCLES)
          || (SHIFT_ADD_CYCLES == 0 && convert_ends && !handover && convert_step + 1 == STEPS)) begin
        finishing <= 0;
        busy <= 0;
        done <= 1;
        input_sum = 0;
        for (r = 0; r < ROWS_USED; r = r + 1) begin
          row_signed = x[r*INPUT_BITS+:INPUT_BITS];
          if (SIGNED_INPUT && x[r*INPUT_BITS+INPUT_BITS-1]) row_signed = row_signed - (1 << INPUT_BITS);
          input_sum = input_sum + row_signed;
        end
        for (n = 0; n < OUTPUTS; n = n + 1)
          if (OFFSET)
            outputs[n*ACC_BITS+:ACC_BITS] <= accumulator[n] - (input_sum <<< (WEIGHT_BITS - 1));
          else outputs[n*ACC_BITS+:ACC_BITS] <= accumulator[n];
      end
    end
  end
endmodule
