// FP32 division and square root: an FPnew of its own, because the package lacks FPnew's multi-format divider.
// Not pipelined: a request is taken (gnt_o) when the previous result has left.
module odl_fp_divider
  import fpnew_pkg::*;
(
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        req_i,
    output logic        gnt_o,
    input  logic [31:0] operand_a_i,
    input  logic [31:0] operand_b_i,
    input  logic [ 5:0] op_i,
    input  logic [14:0] flags_i,
    output logic        rvalid_o,
    output logic [31:0] result_o,
    output logic [ 4:0] status_o
);
  localparam fpu_features_t FEATURES = '{
      Width: 32, EnableVectors: 1'b0, EnableNanBox: 1'b0, FpFmtMask: 5'b10000, IntFmtMask: 4'b0010
  };
  // One register after the divider, as the core's own FPU wrapper has it.
  localparam fpu_implementation_t IMPLEMENTATION = '{
      PipeRegs: '{'{default: 0}, '{default: 1}, '{default: 0}, '{default: 0}},
      UnitTypes: '{'{default: DISABLED}, '{default: MERGED}, '{default: DISABLED}, '{default: DISABLED}},
      PipeConfig: AFTER
  };

  fpnew_top #(
      .Features      (FEATURES),
      .Implementation(IMPLEMENTATION),
      .PulpDivsqrt   (1'b0),
      .TagType       (logic)
  ) fpnew (
      .clk_i,
      .rst_ni,
      .operands_i    ({32'b0, operand_b_i, operand_a_i}),
      .rnd_mode_i    (roundmode_e'(flags_i[2:0])),
      .op_i          (operation_e'(op_i[3:0])),
      .op_mod_i      (op_i[4]),
      .src_fmt_i     (FP32),
      .dst_fmt_i     (FP32),
      .int_fmt_i     (INT32),
      .vectorial_op_i(1'b0),
      .tag_i         (1'b0),
      .simd_mask_i   ('1),
      .in_valid_i    (req_i),
      .in_ready_o    (gnt_o),
      .flush_i       (1'b0),
      .result_o,
      .status_o,
      .tag_o         (),
      .out_valid_o   (rvalid_o),
      .out_ready_i   (1'b1),
      .busy_o        ()
  );
endmodule
