/* mg: multigrid V-cycles for Poisson's equation on a periodic grid, after the MG kernel of the NAS Parallel Benchmarks
 * (RNR-94-007): twenty points of +1 and -1 are the right side, and each cycle lessens the residual.
 *
 *   mg [SIZE]      of all grids together; default 128M. Edges are powers of two, the largest grid that fits is taken.
 *
 * Work: grid points visited by a stage (smoothing, residual, restriction, prolongation). Checked: each cycle lessens
 * the residual's norm by the factor that such a cycle reaches, and every solution is bit for bit the first one, its
 * norms included. The result does not depend on the number of threads: each point is computed from the step before.
 */
#include <math.h>

#include "content.h"
#include "work.h"

#define LEVELS_MAX 12
#define CYCLES 4
/* Measured on these grids: 0.25 to 0.45 per cycle. */
#define REDUCTION_MAX 0.6
#define SMOOTHING (6.0 / 7)
#define POINTS 10

/* u: solution (or correction), v: right side, r: residual. x is contiguous. `h2`: squared distance of two points. */
struct grid {
  uint32_t nx, ny, nz;
  double h2, *u, *v, *r;
};

static struct grid grids[LEVELS_MAX];
static int levels;
static double *plane_sums;

static uint64_t points_of(const struct grid *g) { return (uint64_t)g->nx * g->ny * g->nz; }
static double *row_of(const struct grid *g, double *values, uint32_t z, uint32_t y) {
  return &values[((uint64_t)(z & (g->nz - 1)) * g->ny + (y & (g->ny - 1))) * g->nx];
}

static void plane_done(const struct grid *g) { work_done((uint64_t)g->nx * g->ny); }

/* r = v - Laplacian(u); leaves the sum of squares of each plane, so that the norm is summed in one order. */
static void residual(struct grid *g) {
  const double inverse = 1 / g->h2;
  const uint32_t mask = g->nx - 1;
#pragma omp parallel for schedule(static)
  for (uint32_t z = 0; z < g->nz; z++) {
    double sum = 0;
    for (uint32_t y = 0; y < g->ny; y++) {
      const double *u = row_of(g, g->u, z, y), *v = row_of(g, g->v, z, y);
      const double *north = row_of(g, g->u, z, y - 1), *south = row_of(g, g->u, z, y + 1);
      const double *above = row_of(g, g->u, z - 1, y), *below = row_of(g, g->u, z + 1, y);
      double *r = row_of(g, g->r, z, y);
      for (uint32_t x = 0; x < g->nx; x++) {
        double around = u[(x - 1) & mask] + u[(x + 1) & mask] + north[x] + south[x] + above[x] + below[x];
        r[x] = v[x] - (around - 6 * u[x]) * inverse;
        sum += r[x] * r[x];
      }
    }
    plane_sums[z] = sum;
    plane_done(g);
  }
}

/* A step of damped Jacobi, with the residual that was computed before. */
static void smooth(struct grid *g) {
  const double factor = -SMOOTHING * g->h2 / 6;
#pragma omp parallel for schedule(static)
  for (uint32_t z = 0; z < g->nz; z++) {
    double *u = row_of(g, g->u, z, 0), *r = row_of(g, g->r, z, 0);
    for (uint32_t i = 0; i < g->nx * g->ny; i++) u[i] += factor * r[i];
    plane_done(g);
  }
}

/* The fine residual, weighted over 27 points, becomes the coarse right side; the coarse correction begins with zero. */
static void restrict_to(struct grid *coarse, struct grid *fine) {
  const uint32_t mask = fine->nx - 1;
#pragma omp parallel for schedule(static)
  for (uint32_t z = 0; z < coarse->nz; z++) {
    for (uint32_t y = 0; y < coarse->ny; y++) {
      double *v = row_of(coarse, coarse->v, z, y), *u = row_of(coarse, coarse->u, z, y);
      for (uint32_t x = 0; x < coarse->nx; x++) v[x] = u[x] = 0;
      for (int dz = -1; dz <= 1; dz++)
        for (int dy = -1; dy <= 1; dy++) {
          const double *r = row_of(fine, fine->r, 2 * z + (uint32_t)dz, 2 * y + (uint32_t)dy);
          const double weight = 0.125 / ((dz == 0 ? 1 : 2) * (dy == 0 ? 1 : 2));
          for (uint32_t x = 0; x < coarse->nx; x++)
            v[x] += weight * (r[2 * x] + 0.5 * (r[(2 * x - 1) & mask] + r[(2 * x + 1) & mask]));
        }
    }
    plane_done(coarse);
  }
}

/* Adds the coarse correction, interpolated linearly in each direction. */
static void prolong(struct grid *fine, struct grid *coarse) {
  const uint32_t mask = coarse->nx - 1;
#pragma omp parallel for schedule(static)
  for (uint32_t z = 0; z < fine->nz; z++) {
    for (uint32_t y = 0; y < fine->ny; y++) {
      double *u = row_of(fine, fine->u, z, y);
      const double *rows[4];
      for (uint32_t k = 0; k < 4; k++)
        rows[k] = row_of(coarse, coarse->u, z / 2 + (k & z & 1), y / 2 + (k >> 1 & y & 1));
      for (uint32_t x = 0; x < coarse->nx; x++) {
        double here = rows[0][x] + rows[1][x] + rows[2][x] + rows[3][x];
        uint32_t next = (x + 1) & mask;
        double there = rows[0][next] + rows[1][next] + rows[2][next] + rows[3][next];
        u[2 * x] += 0.25 * here;
        u[2 * x + 1] += 0.125 * (here + there);
      }
    }
    plane_done(fine);
  }
}

static void relax(struct grid *g, int times) {
  for (int i = 0; i < times; i++) residual(g), smooth(g);
}

static void cycle(int level) {
  struct grid *g = &grids[level];
  if (level == levels - 1) return relax(g, 12);
  relax(g, 2);
  residual(g);
  restrict_to(&grids[level + 1], g);
  cycle(level + 1);
  prolong(g, &grids[level + 1]);
  relax(g, 2);
}

static double norm_of(const struct grid *g) {
  double sum = 0;
  for (uint32_t z = 0; z < g->nz; z++) sum += plane_sums[z];
  return sqrt(sum / (double)points_of(g));
}

/* The largest of 2^a x 2^b x 2^c, as like a cube as can be, whose three arrays and coarser ones take at most `bytes`. */
static int make_grids(uint64_t bytes) {
  uint32_t edges[3] = {8, 8, 8};
  for (int axis = 0; (uint64_t)edges[0] * edges[1] * edges[2] * 2 * 3 * sizeof(double) * 8 / 7 <= bytes; axis = (axis + 1) % 3)
    edges[axis] *= 2;
  double h2 = 1;
  for (levels = 0; levels < LEVELS_MAX && edges[0] >= 2 && edges[1] >= 2 && edges[2] >= 2; levels++, h2 *= 4) {
    struct grid *g = &grids[levels];
    *g = (struct grid){.nx = edges[0], .ny = edges[1], .nz = edges[2], .h2 = h2};
    uint64_t each = points_of(g) * sizeof(double);
    g->u = zeroed(each), g->v = zeroed(each), g->r = zeroed(each);
    for (int axis = 0; axis < 3; axis++) edges[axis] /= 2;
  }
  plane_sums = zeroed(grids[0].nz * sizeof *plane_sums);
  return levels >= 2;
}

static void make_right_side(void) {
  uint64_t count = points_of(&grids[0]);
  for (uint64_t i = 0; i < 2 * POINTS; i++) {
    uint64_t at = mix64(i + 1) % count;
    while (grids[0].v[at] != 0) at = (at + 1) % count;
    grids[0].v[at] = i < POINTS ? 1 : -1;
  }
}

int mg_main(int argc, char **argv) {
  double first[CYCLES + 1];
  uint64_t wanted = 0;
  if (!make_grids(size_argument(argc, argv, 1, "128M"))) return 2;
  make_right_side();
  struct grid *g = &grids[0];
  work_begins();
  for (uint64_t solutions = 0; work_goes_on(); solutions++) {
    memset(g->u, 0, points_of(g) * sizeof *g->u);
    residual(g);
    double before = norm_of(g);
    for (int i = 0; i <= CYCLES; i++) {
      if (solutions == 0) first[i] = before;
      else if (before != first[i]) work_failed("norm %.17g after %d cycles, was %.17g", before, i, first[i]);
      if (i == CYCLES) break;
      cycle(0);
      residual(g);
      double norm = norm_of(g);
      if (!(norm < before * REDUCTION_MAX)) work_failed("cycle %d: norm %g after %g", i, norm, before);
      before = norm;
    }
    uint64_t found = digest(digest(0, g->u, points_of(g) * sizeof *g->u), g->v, points_of(g) * sizeof *g->v);
    if (solutions == 0) wanted = found;
    else if (found != wanted) work_failed("solution is not bit for bit the first one");
  }
  return 0;
}
