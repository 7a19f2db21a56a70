// A compute-in-memory macro as synthesizable Verilog: the RTL twin of `cimemu.Macro`.
//
// One operation multiplies an input vector with the programmed cells. Groups of ACTIVE_ROWS wordlines are
// raised one after the other, inputs DAC_BITS at a time (least significant slice first). Every column's sum is
// sampled and held, converters are shared by COLUMNS_PER_ADC neighbouring columns, codes become levels, which are
// shifted and added: a step's columns first, then the running sum, which is held to ACC_BITS after every step.
// The column sum (and what is combined or subtracted before the converters) is the behavioural stand-in for the
// analog array; all else is what a chip would hold.
//
// Cycle behaviour (one operation, G groups, I input slices, nothing skipped):
//   OVERLAP = 0: G*I*(DRIVE + CONVERT) + SHIFT_ADD_CYCLES
//   OVERLAP = 1: DRIVE + (G*I-1)*max(DRIVE, CONVERT) + CONVERT + SHIFT_ADD_CYCLES  (two samples per column)
// with DRIVE = WORDLINE_CYCLES + SAMPLE_CYCLES and CONVERT = ROUNDS * ADC_CYCLES. With SKIP_ZERO a step whose inputs are
// all zero takes SKIP_CYCLES (>= 1) in the place of DRIVE, and no conversion.
module cim_macro #(
    parameter ROWS = 8,
    parameter COLUMNS = 8,       // physical columns
    parameter ACTIVE_ROWS = 8,
    parameter ROWS_USED = 8,
    parameter COLUMNS_USED = 8,  // converted columns
    parameter CELL_BITS = 1,
    parameter INPUT_BITS = 4,
    parameter SIGNED_INPUT = 0,
    parameter DAC_BITS = 1,
    parameter WEIGHT_BITS = 4,
    parameter SLICES = 4,        // weight slices of one polarity
    parameter POLARITIES = 1,    // 2: plus columns, then minus columns (differential)
    parameter LAST_NEGATIVE = 0, // 1: the last weight slice counts negative (two's complement)
    parameter COMBINE = 0,       // 1: slices are weighed before one conversion
    parameter SUBTRACT = 0,      // 1: plus minus minus before the conversion
    parameter OFFSET = 1,        // 1: subtract 2^(WEIGHT_BITS-1) * sum of inputs (offset encoding)
    parameter BINARY = 0,        // 1: twice the sum minus the sum of inputs (binary encoding)
    parameter REFERENCE = 0,     // 1: the sum of inputs comes from one more converted column of ones
    parameter COLUMNS_PER_ADC = 4,
    parameter ADC_BITS = 4,
    parameter ADC_CYCLES = 4,
    parameter WORDLINE_CYCLES = 1,
    parameter SAMPLE_CYCLES = 1,
    parameter SHIFT_ADD_CYCLES = 1,
    parameter OVERLAP = 0,
    parameter SKIP_ZERO = 0,
    parameter SKIP_CYCLES = 1,
    parameter ACC_BITS = 40,     // the accumulator's width
    parameter ON_OVERFLOW = 0,   // 0: flag `overflow`, 1: saturate, 2: wrap
    parameter PSUM_BITS = 32,
    parameter SUM_BITS = 64      // the digital unit's width
) (
    input wire clk,
    input wire rst,
    // programming port: one row of cells, one column's threshold or level, which columns are stored inverted
    input wire cell_write,
    input wire [31:0] cell_row,
    input wire [COLUMNS*CELL_BITS-1:0] cell_levels,
    input wire threshold_write,
    input wire level_write,
    input wire [31:0] table_column,
    input wire [31:0] table_index,
    input wire signed [SUM_BITS-1:0] table_value,
    input wire [COLUMNS-1:0] flipped,
    // operation
    input wire start,
    input wire [ROWS*INPUT_BITS-1:0] inputs,
    output reg busy,
    output reg done,
    output reg overflow,  // a running sum has left the accumulator in this operation
    // the slice on the wordlines of every row, while a step is driven
    output wire wordlines_valid,
    output wire [31:0] wordlines_step,
    output reg [ROWS*DAC_BITS-1:0] wordlines,
    // every finished conversion round, and the running sums after the step's last one
    output reg code_valid,
    output reg [31:0] code_step,
    output reg [31:0] code_round,
    output reg [((COLUMNS+COLUMNS_PER_ADC-1)/COLUMNS_PER_ADC)*ADC_BITS-1:0] codes,
    output reg [ADC_BITS-1:0] reference_code,
    output reg [(COLUMNS/(SLICES*POLARITIES))*SUM_BITS-1:0] sums,
    output reg [(COLUMNS/(SLICES*POLARITIES))*SUM_BITS-1:0] outputs
);
  localparam ADCS = (COLUMNS + COLUMNS_PER_ADC - 1) / COLUMNS_PER_ADC;
  localparam COLUMNS_PER_OUTPUT = SLICES * POLARITIES;
  localparam OUTPUTS = COLUMNS / COLUMNS_PER_OUTPUT;
  localparam HALVES = (POLARITIES == 2 && !SUBTRACT) ? 2 : 1;
  localparam PER_HALF = COMBINE ? 1 : SLICES;
  localparam CONVERSIONS = HALVES * PER_HALF;  // of one output
  localparam GROUPS = (ROWS_USED + ACTIVE_ROWS - 1) / ACTIVE_ROWS;
  localparam INPUT_SLICES = (INPUT_BITS + DAC_BITS - 1) / DAC_BITS;
  localparam STEPS = GROUPS * INPUT_SLICES;
  localparam DRIVE = WORDLINE_CYCLES + SAMPLE_CYCLES;
  localparam ROUNDS = (COLUMNS_USED < COLUMNS_PER_ADC) ? COLUMNS_USED : COLUMNS_PER_ADC;
  localparam CONVERT = ROUNDS * ADC_CYCLES;
  localparam CODES = 1 << ADC_BITS;
  localparam signed [SUM_BITS-1:0] ONE = 1;
  localparam signed [SUM_BITS-1:0] LARGEST = (ONE <<< (ACC_BITS - 1)) - 1;
  localparam signed [SUM_BITS-1:0] SMALLEST = -(ONE <<< (ACC_BITS - 1));

  reg [CELL_BITS-1:0] cells[0:ROWS*COLUMNS-1];
  reg signed [SUM_BITS-1:0] thresholds[0:COLUMNS*CODES-1];  // of each converted column; entry k-1 holds t_k
  reg signed [SUM_BITS-1:0] levels[0:COLUMNS*CODES-1];
  reg [ROWS*INPUT_BITS-1:0] x;

  // --- wordlines: the slice of every raised row -----------------------------------------------------------
  reg [31:0] drive_step, drive_count;
  reg driving, drive_held;  // held: sampled, but the converters are still busy
  wire [31:0] drive_group = drive_step / INPUT_SLICES;
  wire [31:0] drive_slice = drive_step % INPUT_SLICES;

  reg signed [PSUM_BITS-1:0] column_sum[0:COLUMNS-1];
  reg signed [PSUM_BITS-1:0] seen[0:COLUMNS-1];  // what conversions see: columns as they are, combined or subtracted
  reg signed [PSUM_BITS-1:0] ones_sum, part, sign;
  reg [INPUT_SLICES*DAC_BITS-1:0] row_value;
  reg [DAC_BITS-1:0] row_slice;
  integer r, c, o, v, h;
  wire skipping = SKIP_ZERO && (wordlines == 0);
  assign wordlines_valid = driving && !skipping;
  assign wordlines_step = drive_step;
  always @* begin
    wordlines = 0;
    ones_sum = 0;
    for (c = 0; c < COLUMNS; c = c + 1) begin
      column_sum[c] = 0;
      seen[c] = 0;
    end
    for (r = 0; r < ROWS_USED; r = r + 1) begin
      row_value = 0;
      row_value[INPUT_BITS-1:0] = x[r*INPUT_BITS+:INPUT_BITS];
      row_slice = row_value >> (drive_slice * DAC_BITS);
      if (r / ACTIVE_ROWS == drive_group) begin
        wordlines[r*DAC_BITS+:DAC_BITS] = row_slice;
        ones_sum = ones_sum + row_slice;
        for (c = 0; c < COLUMNS; c = c + 1)
          column_sum[c] = column_sum[c] + row_slice * cells[r*COLUMNS+c];
      end
    end
    for (o = 0; o < OUTPUTS; o = o + 1)
      for (c = 0; c < COLUMNS_PER_OUTPUT; c = c + 1) begin
        h = c / SLICES;
        v = c % SLICES;
        sign = (SUBTRACT && h == 1) ? -1 : 1;
        part = column_sum[o*COLUMNS_PER_OUTPUT+c] * sign;
        if (COMBINE) begin
          part = part <<< (v * CELL_BITS);
          if (LAST_NEGATIVE && v == SLICES - 1) part = -part;
          v = 0;
        end
        v = o * CONVERSIONS + (SUBTRACT ? 0 : h) * PER_HALF + v;
        seen[v] = seen[v] + part;
      end
  end

  // --- sample and hold, converters --------------------------------------------------------------------------
  reg signed [PSUM_BITS-1:0] sample[0:COLUMNS-1];  // what the converters look at
  reg signed [PSUM_BITS-1:0] ones_sample;
  reg [31:0] convert_step, convert_count;
  reg converting;
  wire [31:0] convert_round = convert_count / ADC_CYCLES;
  wire round_ends = converting && (convert_count % ADC_CYCLES == ADC_CYCLES - 1);
  wire convert_ends = converting && (convert_count == CONVERT - 1);
  wire drive_ends = driving && (drive_count == (skipping ? SKIP_CYCLES : DRIVE) - 1);
  // A finished sample goes to the converters as soon as they are free; a skipped step ends then.
  wire handover = (drive_ends || drive_held) && (!converting || convert_ends);
  wire last_ends = (handover && skipping && drive_step + 1 == STEPS)
      || (convert_ends && !handover && convert_step + 1 == STEPS);

  function [ADC_BITS-1:0] convert(input signed [PSUM_BITS-1:0] psum, input integer column);
    integer k;
    begin
      convert = 0;
      for (k = 0; k < CODES - 1; k = k + 1)
        if (thresholds[column*CODES+k] <= psum) convert = convert + 1'b1;
    end
  endfunction

  // what a conversion of an output counts: its weight slice and sign
  function signed [SUM_BITS-1:0] weighed(input signed [SUM_BITS-1:0] value, input integer conversion);
    begin
      weighed = value;
      if (!COMBINE) weighed = weighed <<< ((conversion % PER_HALF) * CELL_BITS);
      if (conversion >= PER_HALF) weighed = -weighed;
      if (!COMBINE && LAST_NEGATIVE && conversion == SLICES - 1) weighed = -weighed;
    end
  endfunction

  // what an input slice counts
  function signed [SUM_BITS-1:0] placed(input signed [SUM_BITS-1:0] value, input integer step);
    begin
      placed = value <<< ((step % INPUT_SLICES) * DAC_BITS);
      if (SIGNED_INPUT && step % INPUT_SLICES == INPUT_SLICES - 1) placed = -placed;
    end
  endfunction

  // --- shift-add --------------------------------------------------------------------------------------------
  reg signed [SUM_BITS-1:0] accumulator[0:OUTPUTS-1];
  reg signed [SUM_BITS-1:0] step_sum[0:OUTPUTS-1];  // of the columns of a step
  reg signed [SUM_BITS-1:0] input_sum, reference_sum, row_signed, value, running, flips;
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
    if (threshold_write) thresholds[table_column*CODES+table_index] <= table_value;
    if (level_write) levels[table_column*CODES+table_index] <= table_value;

    if (rst) begin
      busy <= 0;
      overflow <= 0;
      driving <= 0;
      drive_held <= 0;
      converting <= 0;
      finishing <= 0;
    end else if (start && !busy) begin
      busy <= 1;
      overflow <= 0;
      x <= inputs;
      driving <= 1;
      drive_held <= 0;
      drive_step <= 0;
      drive_count <= 0;
      converting <= 0;
      finishing <= 0;
      reference_sum = 0;
      for (n = 0; n < OUTPUTS; n = n + 1) begin
        accumulator[n] = 0;
        step_sum[n] = 0;
      end
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
            code = convert(sample[column], column);
            codes[a*ADC_BITS+:ADC_BITS] <= code;
            n = column / CONVERSIONS;
            s = column % CONVERSIONS;
            if (n < OUTPUTS) begin
              value = placed(weighed(levels[column*CODES+code], s), convert_step);
              if (flipped[column]) value = -value;
              // blocking on purpose: several columns of one output may be converted in the same round
              step_sum[n] = step_sum[n] + value;
            end
          end else codes[a*ADC_BITS+:ADC_BITS] <= 0;
        end
        if (convert_ends) begin
          if (REFERENCE) begin
            code = convert(ones_sample, COLUMNS_USED - 1);
            reference_code <= code;
            reference_sum = reference_sum + placed(levels[(COLUMNS_USED-1)*CODES+code], convert_step);
          end
          for (n = 0; n < OUTPUTS; n = n + 1) begin
            running = accumulator[n] + step_sum[n];
            step_sum[n] = 0;
            if (running > LARGEST || running < SMALLEST) begin
              overflow <= 1;
              if (ON_OVERFLOW == 1) running = (running > LARGEST) ? LARGEST : SMALLEST;
              if (ON_OVERFLOW == 2) running = (running <<< (SUM_BITS - ACC_BITS)) >>> (SUM_BITS - ACC_BITS);
            end
            accumulator[n] = running;
            sums[n*SUM_BITS+:SUM_BITS] <= running;
          end
        end
      end

      if (handover) begin
        for (c = 0; c < COLUMNS; c = c + 1) sample[c] <= seen[c];
        ones_sample <= ones_sum;
        converting <= !skipping;
        convert_step <= drive_step;
        convert_count <= 0;
        drive_held <= 0;
        driving <= 0;
        if ((OVERLAP || skipping) && drive_step + 1 < STEPS) begin
          driving <= 1;
          drive_step <= drive_step + 1;
          drive_count <= 0;
        end
      end else if (convert_ends) begin
        converting <= 0;
        if (!OVERLAP && convert_step + 1 < STEPS) begin
          driving <= 1;
          drive_step <= drive_step + 1;
          drive_count <= 0;
        end
      end
      if (last_ends) begin
        finishing <= 1;
        finish_count <= 1;
      end

      if (finishing) finish_count <= finish_count + 1;
      if ((finishing && finish_count == SHIFT_ADD_CYCLES) || (SHIFT_ADD_CYCLES == 0 && last_ends)) begin
        finishing <= 0;
        busy <= 0;
        done <= 1;
        input_sum = 0;
        for (r = 0; r < ROWS_USED; r = r + 1) begin
          row_signed = x[r*INPUT_BITS+:INPUT_BITS];
          if (SIGNED_INPUT && x[r*INPUT_BITS+INPUT_BITS-1]) row_signed = row_signed - (ONE <<< INPUT_BITS);
          input_sum = input_sum + row_signed;
        end
        if (REFERENCE) input_sum = reference_sum;
        for (n = 0; n < OUTPUTS; n = n + 1) begin
          flips = 0;
          for (s = 0; s < CONVERSIONS; s = s + 1)
            if (flipped[n*CONVERSIONS+s]) flips = flips + weighed((ONE <<< CELL_BITS) - 1, s);
          running = accumulator[n] + flips * input_sum;
          if (OFFSET) running = running - (input_sum <<< (WEIGHT_BITS - 1));
          if (BINARY) running = (running <<< 1) - input_sum;
          outputs[n*SUM_BITS+:SUM_BITS] <= running;
        end
      end
    end
  end
endmodule
