// FP32 and packed FP16 without division: FPnew, every operation of which takes LATENCY cycles.
//
// It is built twice, with additions and multiplications or with everything else, so that only the half that is used
// needs evaluation. As all latencies are equal and one request is taken per cycle, the two together behave as one.
module odl_fpu
  import fpnew_pkg::*;
#(
    parameter int LATENCY = 0,
    parameter bit ADDMUL  = 1
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        req_i,
    input  logic [31:0] operand_a_i,
    input  logic [31:0] operand_b_i,
    input  logic [31:0] operand_c_i,
    input  logic [ 5:0] op_i,
    input  logic [14:0] flags_i,
    output logic        rvalid_o,
    output logic [31:0] result_o,
    output logic [ 4:0] status_o
);
  // Formats in the order FP32, FP64, FP16, FP8, FP16alt; integers in the order 8, 16, 32, 64 bits.
  localparam fpu_features_t FEATURES = '{
      Width: 32, EnableVectors: 1'b1, EnableNanBox: 1'b0, FpFmtMask: 5'b10100, IntFmtMask: 4'b0110
  };
  // Operation groups in the order add/multiply, divide/square root, comparison, conversion.
  localparam fpu_implementation_t IMPLEMENTATION = '{
      PipeRegs: '{default: LATENCY},
      UnitTypes: '{
          '{default: ADDMUL ? MERGED : DISABLED},
          '{default: DISABLED},
          '{default: ADDMUL ? DISABLED : PARALLEL},
          '{default: ADDMUL ? DISABLED : MERGED}
      },
      PipeConfig: AFTER
  };

  logic [2:0] rounding_mode;
  logic [2:0] destination_format, source_format;
  logic [1:0] integer_format;
  assign {integer_format, source_format, destination_format, rounding_mode} = {flags_i[10:0]};

  fpnew_top #(
      .Features      (FEATURES),
      .Implementation(IMPLEMENTATION),
      .PulpDivsqrt   (1'b1),
      .TagType       (logic)
  ) fpnew (
      .clk_i,
      .rst_ni,
      .operands_i    ({operand_c_i, operand_b_i, operand_a_i}),
      .rnd_mode_i    (roundmode_e'(rounding_mode)),
      .op_i          (operation_e'(op_i[3:0])),
      .op_mod_i      (op_i[4]),
      .src_fmt_i     (fp_format_e'(source_format)),
      .dst_fmt_i     (fp_format_e'(destination_format)),
      .int_fmt_i     (int_format_e'(integer_format)),
      .vectorial_op_i(op_i[5]),
      .tag_i         (1'b0),
      .simd_mask_i   ('1),
      .in_valid_i    (req_i),
      .in_ready_o    (),
      .flush_i       (1'b0),
      .result_o,
      .status_o,
      .tag_o         (),
      .out_valid_o   (rvalid_o),
      .out_ready_i   (1'b1),
      .busy_o        ()
  );
endmodule
