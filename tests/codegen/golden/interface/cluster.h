 * This is the whole interface. There is no heap; all memory is one arena of 60 bytes in net.c.
 * Images are channels-last ([height][width][channels]); batches are consecutive samples. The DMA engine reads
 * inputs: they lie in L2.

#define NET_ARENA_BYTES 60

/* The memory beside the cores; between calls it holds nothing. */
#define NET_L1_BYTES 114688
extern uint8_t net_l1[NET_L1_BYTES];
