/* The instructions that instructions.c executes, in the order of test_packed_fp16.py. */
#ifndef INSTRUCTION_LIST_H
#define INSTRUCTION_LIST_H

enum { VFADD, VFSUB, VFMUL, VFMAC, VFMAC_R, VFCPKA, TO_FLOAT, TO_HALF, INSTRUCTIONS };

#endif
