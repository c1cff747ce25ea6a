/* Addresses of pulp-open that the runtime uses, and the event load that sleeps until an event. */
#ifndef ODL_REGISTERS_H
#define ODL_REGISTERS_H

#include <stdint.h>

#define ODL_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define ODL_CLUSTER_FETCH_ENABLE 0x10200008u
#define ODL_CLUSTER_BOOT_ADDRESS 0x10200040u
#define ODL_TIMER_CONFIG 0x10200400u
#define ODL_TIMER_COUNT 0x10200408u
#define ODL_CLUSTER_ICACHE 0x10201400u
#define ODL_SOC_ICACHE 0x1A108800u
#define ODL_EXIT 0x1A1040A0u
#define ODL_STDOUT 0x1A10F000u

#define ODL_DMA_COMMAND 0x10204400u
#define ODL_DMA_STATUS 0x10204404u

#define ODL_EVENT_MASK 0x10204000u
#define ODL_EVENT_WAIT_CLEAR 0x1020403Cu
#define ODL_BARRIER_TRIGGER_MASK 0x10204200u
#define ODL_BARRIER_TARGET_MASK 0x1020420Cu
#define ODL_BARRIER_WAIT_CLEAR 0x1020421Cu
#define ODL_BARRIER_1_WAIT_CLEAR 0x1020423Cu /* of workers and controller */

#define ODL_EVENT_DMA (1u << 8)
#define ODL_EVENT_BARRIER (1u << 16)

/* Only in the simulator of this project */
#define ODL_MEASURE_MARK 0x1A10E000u
#define ODL_MEASURE_CYCLES 0x1A10E004u

/* Loads from an event unit register; the core sleeps until the answer comes. */
static inline uint32_t odl_event_load(uint32_t address) {
    uint32_t value;
#if defined(ODL_TARGET_CV32E40P)
    __asm__ volatile(".insn i 0x0b, 3, %0, %1, 0" : "=r"(value) : "r"(address) : "memory"); /* cv.elw */
#else
    __asm__ volatile(".insn i 0x03, 6, %0, %1, 0" : "=r"(value) : "r"(address) : "memory"); /* p.elw */
#endif
    return value;
}

#endif
