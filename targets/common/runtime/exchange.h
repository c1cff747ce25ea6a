/* Data in before main and out after it, without building the program anew. */
#ifndef ODL_EXCHANGE_H
#define ODL_EXCHANGE_H

/* Fills variables with what the host wrote to the file odl.in, if there is one. */
void odl_receive(void);

/* Writes the marks that are left and the variables that odl.in asked for to odl.out. */
void odl_send(void);

#endif
