/* linpack: solves a dense system of linear equations by LU factorisation with partial pivoting, column by column (J.
 * Dongarra's benchmark: the time is in the update of a column by a multiple of another one).
 *
 *   linpack [SIZE]      of the matrix; default 2M, which is 512 x 512
 *
 * Work: 1000 floating point operations, counted as usual (2/3 n^3 + 2 n^2 for a solution). Checked: the residual
 * max|Ax - b| / (n max|A| max|x| epsilon) must be below 16, with the matrix made again; each solution has another matrix.
 */
#include <float.h>
#include <math.h>

#include "content.h"
#include "work.h"

static uint64_t n;
static double *matrix, *right, *solution;
static uint64_t *pivots;

/* Element (row, column) of the matrix number `seed`, within -0.5 and 0.5. */
static double element(uint64_t seed, uint64_t row, uint64_t column) {
  return (double)(mix64(seed * 0x9e3779b97f4a7c15ull + column * n + row + 1) >> 11) * 0x1p-53 - 0.5;
}

/* The right side makes 1, 2, 3, 1, 2, 3, ... the solution, up to rounding. */
static void make_system(uint64_t seed) {
  memset(right, 0, n * sizeof *right);
  for (uint64_t j = 0; j < n; j++) {
    double *column = &matrix[j * n], wanted = (double)(1 + j % 3);
    for (uint64_t i = 0; i < n; i++) {
      column[i] = element(seed, i, j);
      right[i] += column[i] * wanted;
    }
  }
}

static __attribute__((noinline)) void add_multiple(double *to, const double *from, double factor, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) to[i] += factor * from[i];
}

static void swap(double *one, double *other) {
  double kept = *one;
  *one = *other;
  *other = kept;
}

/* LU in place; the multipliers of a column stand below its pivot. False where the matrix is singular. */
static int factorise(void) {
  for (uint64_t k = 0; k < n; k++) {
    double *column = &matrix[k * n];
    uint64_t pivot = k, below = n - k - 1;
    for (uint64_t i = k + 1; i < n; i++)
      if (fabs(column[i]) > fabs(column[pivot])) pivot = i;
    pivots[k] = pivot;
    if (column[pivot] == 0) return 0;
    swap(&column[k], &column[pivot]);
    double scale = -1 / column[k];
    for (uint64_t i = k + 1; i < n; i++) column[i] *= scale;
    for (uint64_t j = k + 1; j < n; j++) {
      double *other = &matrix[j * n];
      swap(&other[k], &other[pivot]);
      add_multiple(&other[k + 1], &column[k + 1], other[k], below);
    }
    work_done((below + 2 * below * below) / 1000);
  }
  return 1;
}

static void solve(void) {
  memcpy(solution, right, n * sizeof *right);
  for (uint64_t k = 0; k < n; k++) {
    swap(&solution[k], &solution[pivots[k]]);
    add_multiple(&solution[k + 1], &matrix[k * n + k + 1], solution[k], n - k - 1);
  }
  for (uint64_t k = n; k-- > 0;) {
    solution[k] /= matrix[k * n + k];
    add_multiple(solution, &matrix[k * n], -solution[k], k);
  }
  work_done(2 * n * n / 1000);
}

static void check(uint64_t seed) {
  double largest = 0, largest_error = 0, largest_element = 0;
  for (uint64_t j = 0; j < n; j++) {
    if (!(fabs(solution[j]) <= largest)) largest = fabs(solution[j]);
    for (uint64_t i = 0; i < n; i++) {
      double a = element(seed, i, j);
      if (fabs(a) > largest_element) largest_element = fabs(a);
      right[i] -= a * solution[j];
    }
  }
  for (uint64_t i = 0; i < n; i++)
    if (!(fabs(right[i]) <= largest_error)) largest_error = fabs(right[i]);
  double residual = largest_error / ((double)n * largest_element * largest * DBL_EPSILON);
  if (!(residual < 16)) work_failed("residual %g of system %llu", residual, (unsigned long long)seed);
}

int linpack_main(int argc, char **argv) {
  n = (uint64_t)sqrt((double)size_argument(argc, argv, 1, "2M") / sizeof *matrix);
  if (n < 2) return 2;
  matrix = zeroed(n * n * sizeof *matrix);
  right = zeroed(n * sizeof *right);
  solution = zeroed((n + 1) * sizeof *solution);
  pivots = zeroed(n * sizeof *pivots);
  work_begins();
  for (uint64_t seed = 1; work_goes_on(); seed++) {
    make_system(seed);
    if (!factorise()) {
      work_failed("system %llu is singular", (unsigned long long)seed);
      continue;
    }
    solve();
    check(seed);
  }
  return 0;
}
