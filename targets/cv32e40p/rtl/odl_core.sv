// One CV32E40P core as the cluster model sees it: memory ports, FPU port, and what the core did in each cycle.
//
// Everything here is clocked by both edges of clk_i, as the built copy of the core is: one evaluation of the model
// is one cycle. Outputs depend on registers only, so they are valid as soon as the edge before has been evaluated.
module odl_core
  import cv32e40p_apu_core_pkg::*;
#(
    parameter int FPU_LATENCY = 0
) (
    input logic        clk_i,
    input logic        rst_ni,
    input logic [31:0] hart_id_i,
    input logic [31:0] boot_addr_i,

    // Instructions. The request is that of the cycle before (a register stands at the border) and always granted.
    output logic        instr_req_o,
    output logic [31:0] instr_addr_o,
    input  logic        instr_rvalid_i,
    input  logic [31:0] instr_rdata_i,

    // Data (OBI)
    output logic        data_req_o,
    input  logic        data_gnt_i,
    input  logic        data_rvalid_i,
    output logic        data_we_o,
    output logic [ 3:0] data_be_o,
    output logic [31:0] data_addr_o,
    output logic [31:0] data_wdata_o,
    input  logic [31:0] data_rdata_i,
    output logic        data_event_o,  // the request is an event load (cv.elw)

    // FPU
    output logic                        fpu_req_o,
    input  logic                        fpu_gnt_i,
    output logic [                31:0] fpu_operand_a_o,
    output logic [                31:0] fpu_operand_b_o,
    output logic [                31:0] fpu_operand_c_o,
    output logic [     APU_WOP_CPU-1:0] fpu_op_o,
    output logic [APU_NDSFLAGS_CPU-1:0] fpu_flags_o,
    input  logic                        fpu_rvalid_i,
    input  logic [                31:0] fpu_result_i,
    input  logic [APU_NUSFLAGS_CPU-1:0] fpu_status_i,

    // What happened in the cycle that the last edge ended
    output logic [ 3:0] activity_o,
    output logic        trap_o,
    output logic [ 4:0] trap_cause_o,
    output logic [31:0] trap_pc_o,
    output logic [31:0] pc_decode_o,
    output logic [31:0] pc_execute_o,
    output logic [31:0] stack_pointer_o,
    output logic        sleep_o
);
  logic [APU_NARGS_CPU-1:0][31:0] fpu_operands;
  logic                           instr_req;
  logic [                   31:0] instr_addr;

  assign {fpu_operand_c_o, fpu_operand_b_o, fpu_operand_a_o} = fpu_operands;

  cv32e40p_core #(
      .COREV_PULP      (1),
      .COREV_CLUSTER   (1),
      .FPU             (1),
      .ZFINX           (1),
      .FPU_ADDMUL_LAT  (FPU_LATENCY),
      .FPU_OTHERS_LAT  (FPU_LATENCY),
      .NUM_MHPMCOUNTERS(1)
  ) core (
      .clk_i,
      .rst_ni,
      .pulp_clock_en_i    (1'b1),
      .scan_cg_en_i       (1'b0),
      .boot_addr_i,
      .mtvec_addr_i       (boot_addr_i),
      .dm_halt_addr_i     ('0),
      .hart_id_i,
      .dm_exception_addr_i('0),
      .instr_req_o        (instr_req),
      .instr_gnt_i        (1'b1),
      .instr_rvalid_i,
      .instr_addr_o       (instr_addr),
      .instr_rdata_i,
      .data_req_o,
      .data_gnt_i,
      .data_rvalid_i,
      .data_we_o,
      .data_be_o,
      .data_addr_o,
      .data_wdata_o,
      .data_rdata_i,
      .apu_busy_o         (),
      .apu_req_o          (fpu_req_o),
      .apu_gnt_i          (fpu_gnt_i),
      .apu_operands_o     (fpu_operands),
      .apu_op_o           (fpu_op_o),
      .apu_flags_o        (fpu_flags_o),
      .apu_rvalid_i       (fpu_rvalid_i),
      .apu_result_i       (fpu_result_i),
      .apu_flags_i        (fpu_status_i),
      .irq_i              ('0),
      .irq_ack_o          (),
      .irq_id_o           (),
      .debug_req_i        (1'b0),
      .debug_havereset_o  (),
      .debug_running_o    (),
      .debug_halted_o     (),
      .fetch_enable_i     (1'b1),
      .core_sleep_o       (sleep_o)
  );

  assign data_event_o = core.data_load_event_ex;
  assign trap_pc_o    = core.mepc;
  assign pc_decode_o  = core.pc_id;
  assign stack_pointer_o = core.id_stage_i.register_file_i.mem[2];

  // Why the decode stage did or did not hand on an instruction, in order of cause: what blocks the later stage
  // comes first. The numbers are `Activity` in sim/activity.h.
  function automatic logic [3:0] activity;
    if (core.id_valid && core.is_decoding) return 4'd0;  // an instruction was issued
    if (data_req_o && !data_gnt_i) return 4'd1;  // a data request was not granted
    if (!core.lsu_ready_wb) return 4'd2;  // a granted access has not been answered
    if (core.id_stage_i.load_stall) return 4'd3;  // the operand is being loaded
    if (core.id_stage_i.apu_stall || core.id_stage_i.csr_apu_stall || core.ex_stage_i.apu_stall
        || core.ex_stage_i.wb_contention) return 4'd4;  // FPU: dependency, not granted, busy, write port
    if (core.id_stage_i.misaligned_stall) return 4'd5;  // second half of a misaligned access
    if (!core.ex_stage_i.alu_ready || !core.ex_stage_i.mult_ready) return 4'd6;  // multi-cycle integer operation
    if (core.id_stage_i.jr_stall) return 4'd7;  // the jump target is being computed
    if (core.branch_in_ex && core.branch_decision) return 4'd7;  // a taken branch drops what was being decoded
    if (!core.instr_valid_id) return 4'd8;  // nothing to decode: jump, taken branch or a fetch that takes long
    return 4'd9;  // the controller holds the pipeline: CSR access, fence, exception
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      instr_req_o  <= 1'b0;
      instr_addr_o <= '0;
      activity_o   <= 4'd9;
      trap_o       <= 1'b0;
      trap_cause_o <= '0;
      pc_execute_o <= '0;
    end else begin
      instr_req_o  <= instr_req;
      instr_addr_o <= instr_addr;
      activity_o   <= activity();
      trap_o       <= core.csr_save_cause && !core.csr_cause[5];
      trap_cause_o <= core.csr_cause[4:0];
      if (core.id_valid && core.is_decoding) pc_execute_o <= core.pc_id;
    end
  end
endmodule
