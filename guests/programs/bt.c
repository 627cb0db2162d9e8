/* bt: block tri-diagonal systems, blocks of 5 x 5, after the BT code of the NAS Parallel Benchmarks (RNR-94-007), on a grid
 * whose solution is known (sweeps.c). It computes much for each value that it writes.
 *
 *   bt [SIZE]      default 64M
 */
#include "sweeps.h"

typedef double block[VALUES][VALUES];

/* The block of a cell and of its neighbours below and above: the cell's own one is dominant. */
static void blocks_of(block below, block own, block above, uint32_t cell, uint32_t kind) {
  for (uint32_t i = 0; i < VALUES; i++)
    for (uint32_t j = 0; j < VALUES; j++) {
      const double coupled = 0.01 * ((i * 5 + j + cell + kind) % 7);
      below[i][j] = coupled - (i == j ? 0.9 : 0);
      own[i][j] = coupled * 2 + (i == j ? 4 : 0);
      above[i][j] = -coupled - (i == j ? 0.8 : 0);
    }
}

static void subtract_product(double *from, const block matrix, const double *vector) {
  for (uint32_t i = 0; i < VALUES; i++)
    for (uint32_t j = 0; j < VALUES; j++) from[i] -= matrix[i][j] * vector[j];
}

static void apply(double (*line)[VALUES], uint32_t cells, uint32_t kind) {
  block below, own, above;
  double before[VALUES] = {0};
  for (uint32_t cell = 0; cell < cells; cell++) {
    double sum[VALUES] = {0};
    blocks_of(below, own, above, cell, kind);
    if (cell > 0) subtract_product(sum, below, before);
    subtract_product(sum, own, line[cell]);
    if (cell + 1 < cells) subtract_product(sum, above, line[cell + 1]);
    memcpy(before, line[cell], sizeof before);
    for (uint32_t i = 0; i < VALUES; i++) line[cell][i] = -sum[i];
  }
}

/* Gauss and Jordan: `matrix` becomes the unit, and `right` and `vector` what its inverse makes of them. */
static void eliminate(block matrix, block right, double *vector) {
  for (uint32_t k = 0; k < VALUES; k++) {
    const double inverse = 1 / matrix[k][k];
    for (uint32_t j = k; j < VALUES; j++) matrix[k][j] *= inverse;
    for (uint32_t j = 0; j < VALUES; j++) right[k][j] *= inverse;
    vector[k] *= inverse;
    for (uint32_t i = 0; i < VALUES; i++) {
      if (i == k) continue;
      const double factor = matrix[i][k];
      for (uint32_t j = k; j < VALUES; j++) matrix[i][j] -= factor * matrix[k][j];
      for (uint32_t j = 0; j < VALUES; j++) right[i][j] -= factor * right[k][j];
      vector[i] -= factor * vector[k];
    }
  }
}

static void solve(double (*line)[VALUES], uint32_t cells, uint32_t kind) {
  static _Thread_local block next[EDGE_MAX];
  block below, own;
  for (uint32_t cell = 0; cell < cells; cell++) {
    blocks_of(below, own, next[cell], cell, kind);
    if (cell > 0) {
      for (uint32_t i = 0; i < VALUES; i++)
        for (uint32_t j = 0; j < VALUES; j++)
          for (uint32_t k = 0; k < VALUES; k++) own[i][j] -= below[i][k] * next[cell - 1][k][j];
      subtract_product(line[cell], below, line[cell - 1]);
    }
    eliminate(own, next[cell], line[cell]);
  }
  for (uint32_t cell = cells - 1; cell-- > 0;) subtract_product(line[cell], next[cell], line[cell + 1]);
}

int bt_main(int argc, char **argv) { return run_sweeps(size_argument(argc, argv, 1, "64M"), apply, solve); }
