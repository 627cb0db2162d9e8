/* What sp and bt have in common: a grid of cells with five values each, and a system that is the product of one operator
 * along each axis. It is solved by a sweep along each, line by line, as an approximate factorisation does it. */
#ifndef SWEEPS_H
#define SWEEPS_H
#include "work.h"

#define VALUES 5
#define EDGE_MAX 512

/* The cells of a line; `kind` decides its coefficients. */
typedef void line_function(double (*line)[VALUES], uint32_t cells, uint32_t kind);

/* Makes a field, applies the operator along z, y and x, solves along x, y and z, and compares with the field; for ever.
 * Work: lines solved. SIZE is that of the two fields together. */
int run_sweeps(uint64_t bytes, line_function *apply, line_function *solve);
#endif
