/* sp: scalar penta-diagonal systems, five independent ones per line, after the SP code of the NAS Parallel Benchmarks
 * (RNR-94-007), on a grid whose solution is known (sweeps.c).
 *
 *   sp [SIZE]      default 128M
 */
#include "sweeps.h"

/* Coefficients of a cell's second, first neighbour below, itself, and above: dominant, and different along the line. */
static void row_of(double row[5], uint32_t cell, uint32_t value, uint32_t kind) {
  const double change = 0.01 * ((cell * 7 + value * 3 + kind) % 11);
  row[0] = 0.05 + change * 0.1;
  row[1] = -0.4 - change;
  row[2] = 1.8 + change;
  row[3] = -0.3 + change;
  row[4] = 0.06 - change * 0.1;
}

static void apply(double (*line)[VALUES], uint32_t cells, uint32_t kind) {
  double before[2][VALUES] = {{0}}, row[5];
  for (uint32_t i = 0; i < cells; i++)
    for (uint32_t value = 0; value < VALUES; value++) {
      row_of(row, i, value, kind);
      const double here = line[i][value];
      double sum = row[0] * before[0][value] + row[1] * before[1][value] + row[2] * here;
      if (i + 1 < cells) sum += row[3] * line[i + 1][value];
      if (i + 2 < cells) sum += row[4] * line[i + 2][value];
      before[0][value] = before[1][value];
      before[1][value] = here;
      line[i][value] = sum;
    }
}

/* Thomas' algorithm for five diagonals: each row is freed of what is left of its diagonal, then back. */
static void solve(double (*line)[VALUES], uint32_t cells, uint32_t kind) {
  static _Thread_local double first[EDGE_MAX + 2][VALUES], second[EDGE_MAX + 2][VALUES];
  double row[5];
  for (uint32_t i = 0; i < cells; i++)
    for (uint32_t value = 0; value < VALUES; value++) {
      row_of(row, i, value, kind);
      double diagonal = row[2], above = row[3], sum = line[i][value], below = row[1];
      if (i >= 2) {
        below -= row[0] * first[i - 2][value];
        diagonal -= row[0] * second[i - 2][value];
        sum -= row[0] * line[i - 2][value];
      }
      if (i >= 1) {
        diagonal -= below * first[i - 1][value];
        above -= below * second[i - 1][value];
        sum -= below * line[i - 1][value];
      }
      const double inverse = 1 / diagonal;
      first[i][value] = above * inverse;
      second[i][value] = row[4] * inverse;
      line[i][value] = sum * inverse;
    }
  for (uint32_t i = cells; i-- > 0;)
    for (uint32_t value = 0; value < VALUES; value++) {
      if (i + 1 < cells) line[i][value] -= first[i][value] * line[i + 1][value];
      if (i + 2 < cells) line[i][value] -= second[i][value] * line[i + 2][value];
    }
}

int sp_main(int argc, char **argv) { return run_sweeps(size_argument(argc, argv, 1, "128M"), apply, solve); }
