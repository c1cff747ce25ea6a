/* Data in before main and out after it, without building the program anew. */
#ifndef ODL_EXCHANGE_H
#define ODL_EXCHANGE_H

/* Fills variables with what the host wrote to the file odl.in, if there is one. */
void odl_receive(void);

/* Writes to odl.out, which the marks have begun, the variables that odl.in asked for. */
void odl_send(void);

#endif
