// The core's register file as one memory in place of 31 registers: the same behaviour, and much less to evaluate.
// Port B wins where both ports write one register.
module cv32e40p_register_file #(
    parameter ADDR_WIDTH = 5,
    parameter DATA_WIDTH = 32,
    parameter FPU        = 0,
    parameter ZFINX      = 0
) (
    input logic clk,
    input logic rst_n,
    input logic scan_cg_en_i,

    input  logic [ADDR_WIDTH-1:0] raddr_a_i,
    output logic [DATA_WIDTH-1:0] rdata_a_o,
    input  logic [ADDR_WIDTH-1:0] raddr_b_i,
    output logic [DATA_WIDTH-1:0] rdata_b_o,
    input  logic [ADDR_WIDTH-1:0] raddr_c_i,
    output logic [DATA_WIDTH-1:0] rdata_c_o,

    input logic [ADDR_WIDTH-1:0] waddr_a_i,
    input logic [DATA_WIDTH-1:0] wdata_a_i,
    input logic                  we_a_i,
    input logic [ADDR_WIDTH-1:0] waddr_b_i,
    input logic [DATA_WIDTH-1:0] wdata_b_i,
    input logic                  we_b_i
);
  logic [DATA_WIDTH-1:0] mem[32];

  // Bit 5 of an address would name a floating-point register, which Zfinx does not have.
  assign rdata_a_o = raddr_a_i[5] ? '0 : mem[raddr_a_i[4:0]];
  assign rdata_b_o = raddr_b_i[5] ? '0 : mem[raddr_b_i[4:0]];
  assign rdata_c_o = raddr_c_i[5] ? '0 : mem[raddr_c_i[4:0]];

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      for (int i = 0; i < 32; i++) mem[i] <= '0;
    end else begin
      if (we_a_i && !waddr_a_i[5] && waddr_a_i[4:0] != 0) mem[waddr_a_i[4:0]] <= wdata_a_i;
      if (we_b_i && !waddr_b_i[5] && waddr_b_i[4:0] != 0) mem[waddr_b_i[4:0]] <= wdata_b_i;
    end
  end
endmodule
