#include "sweeps.h"

#include <math.h>

#include "content.h"

/* Both operators are diagonally dominant: measured errors are below 1e-13. */
#define ERROR_MAX 1e-10

static uint32_t edge;
static double (*right)[VALUES], (*solution)[VALUES];

/* The field of an iteration: smooth, with a part that depends on the cell, so that a misplaced one is found. */
static double exact(uint64_t iteration, uint64_t cell, uint32_t value) {
  uint64_t r = (cell * 0x9e3779b97f4a7c15ull) ^ (iteration * 0xbf58476d1ce4e5b9ull);
  return 1 + value * 0.25 + (double)(r >> 40) * 0x1p-24;
}

static void make_field(uint64_t iteration) {
#pragma omp parallel for schedule(static)
  for (uint32_t z = 0; z < edge; z++)
    for (uint64_t cell = (uint64_t)z * edge * edge; cell < (uint64_t)(z + 1) * edge * edge; cell++)
      for (uint32_t value = 0; value < VALUES; value++) right[cell][value] = exact(iteration, cell, value);
}

/* Takes each line of an axis (stride: cells from one of its cells to the next) out of the field and puts it back. */
static void sweep(double (*field)[VALUES], uint32_t axis, line_function *function, uint64_t work) {
  const uint64_t strides[3] = {1, edge, (uint64_t)edge * edge};
  const uint64_t stride = strides[axis], outer = strides[axis == 2 ? 1 : 2], inner = strides[axis == 0 ? 1 : 0];
#pragma omp parallel for schedule(static)
  for (uint32_t a = 0; a < edge; a++) {
    double line[EDGE_MAX][VALUES];
    for (uint32_t b = 0; b < edge; b++) {
      double(*first)[VALUES] = &field[a * outer + b * inner];
      for (uint32_t i = 0; i < edge; i++) memcpy(line[i], first[i * stride], sizeof line[i]);
      function(line, edge, axis * 3 + (a + b) % 5);
      for (uint32_t i = 0; i < edge; i++) memcpy(first[i * stride], line[i], sizeof line[i]);
    }
    work_done(work * edge);
  }
}

static void check(uint64_t iteration) {
  uint64_t wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong)
  for (uint32_t z = 0; z < edge; z++)
    for (uint64_t cell = (uint64_t)z * edge * edge; cell < (uint64_t)(z + 1) * edge * edge; cell++)
      for (uint32_t value = 0; value < VALUES; value++)
        wrong += !(fabs(solution[cell][value] - exact(iteration, cell, value)) < ERROR_MAX);
  if (wrong != 0)
    work_failed("%llu values of iteration %llu are wrong", (unsigned long long)wrong, (unsigned long long)iteration);
}

int run_sweeps(uint64_t bytes, line_function *apply, line_function *solve) {
  edge = (uint32_t)cbrt((double)(bytes / (2 * sizeof *right)));
  if (edge < 8 || edge > EDGE_MAX) return 2;
  uint64_t cells = (uint64_t)edge * edge * edge;
  right = zeroed(cells * sizeof *right);
  solution = zeroed(cells * sizeof *solution);
  work_begins();
  for (uint64_t iteration = 1; work_goes_on(); iteration++) {
    make_field(iteration);
    for (uint32_t axis = 3; axis-- > 0;) sweep(right, axis, apply, 0);
#pragma omp parallel for schedule(static)
    for (uint32_t z = 0; z < edge; z++)
      memcpy(solution[(uint64_t)z * edge * edge], right[(uint64_t)z * edge * edge],
             (uint64_t)edge * edge * sizeof *right);
    for (uint32_t axis = 0; axis < 3; axis++) sweep(solution, axis, solve, 1);
    check(iteration);
  }
  return 0;
}
