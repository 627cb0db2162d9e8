/* livermore: the 24 kernels that F. H. McMahon took from the programs of his laboratory (UCRL-53745, 1986), each a loop over
 * one-, two- or three-dimensional arrays: recurrences, reductions, stencils, gathers and branches.
 *
 * Work: 1000 floating point operations, by the report's count for each step of a kernel. Checked: before each kernel all
 * arrays are made anew; after it, what it wrote is bit for bit what the first pass left, which had finite results only.
 */
#include <math.h>
#include <stddef.h>

#include "content.h"
#include "work.h"

#define N 1001
#define WIDE 2048
#define PARTICLES 128
#define REPEATS 8

static struct space {
  double x[WIDE], y[WIDE], z[WIDE], u[WIDE], v[WIDE], w[WIDE], xx[WIDE], vx[WIDE], g[WIDE];
  double ex[WIDE], dex[WIDE], grd[WIDE], rh[WIDE + 2], xi[WIDE], rx[WIDE], flow[WIDE];
  double b5[WIDE], sa[WIDE], sb[WIDE];
  double px[N][25], cx[N][25], b[64][64], c[64][64], h[128][128], p[PARTICLES][4];
  double u1[2][101][5], u2[2][101][5], u3[2][101][5];
  double za[101][8], zb[101][8], zm[101][8], zp[101][8], zq[101][8], zr[101][8], zu[101][8], zv[101][8], zz[101][8];
  double vf[8][101], vg[8][101], vh[8][101], vs[8][101], vy[25][101];
  double scalar;
  int32_t shift[WIDE], zone[WIDE], ix[WIDE], place;
} s;

/* Within 0.01 and 0.11, so that recurrences neither grow nor vanish. */
static double small(uint64_t seed) { return (double)(mix64(seed) >> 11) * 0x1p-53 * 0.1 + 0.01; }

static void make_space(void) {
  double *values = (double *)&s;
  uint64_t state = 88172645463325252ull;
  for (uint64_t i = 0; i < offsetof(struct space, shift) / sizeof *values; i++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    values[i] = (double)(state >> 11) * 0x1p-53 * 0.1 + 0.01;
  }
  for (int i = 0; i < WIDE; i++) {
    s.shift[i] = (int32_t)(mix64((uint64_t)i) % 3);
    s.zone[i] = (int32_t)(mix64((uint64_t)i + 77) % N);
    s.ix[i] = 0;
    s.grd[i] = 1 + (double)(mix64((uint64_t)i + 99) % 1000);
  }
  for (int i = 0; i < PARTICLES; i++)
    for (int k = 0; k < 4; k++) s.p[i][k] = k < 2 ? 1 + 60 * small((uint64_t)(i * 4 + k)) : small((uint64_t)(i * 4 + k));
  s.place = 0;
}

static void hydro_fragment(void) {
  for (int k = 0; k < N; k++) s.x[k] = 0.05 + s.y[k] * (0.2 * s.z[k + 10] + 0.3 * s.z[k + 11]);
}

/* Incomplete Cholesky and conjugate gradients: halves the vector again and again. */
static void iccg(void) {
  int length = 512, next = 0;
  do {
    int first = next, i;
    next += length;
    length /= 2;
    i = next - 1;
    for (int k = first + 1; k < next; k += 2) {
      i++;
      s.x[i] = s.x[k] - s.v[k] * s.x[k - 1] - s.v[k + 1] * s.x[k + 1];
    }
  } while (length > 0);
}

static void inner_product(void) {
  double q = 0;
  for (int k = 0; k < N; k++) q += s.z[k] * s.x[k];
  s.scalar = q;
}

static void banded_equations(void) {
  for (int k = 6; k < N; k += (N - 7) / 2) {
    double t = s.x[k - 1];
    for (int j = 4, l = k - 6; j < N; j += 5, l++) t -= s.x[l] * s.y[j];
    s.x[k - 1] = s.y[4] * t;
  }
}

static void tridiagonal_elimination(void) {
  for (int i = 1; i < N; i++) s.x[i] = s.z[i] * (s.y[i] - s.x[i - 1]);
}

static void linear_recurrence(void) {
  for (int i = 1; i < 64; i++) {
    s.w[i] = 0.01;
    for (int k = 0; k < i; k++) s.w[i] += s.b[k][i] * s.w[i - k - 1];
  }
}

static void equation_of_state(void) {
  const double q = 0.5, r = 0.25, t = 0.125;
  for (int k = 0; k < N; k++)
    s.x[k] = s.u[k] + r * (s.z[k] + r * s.y[k]) +
             t * (s.u[k + 3] + r * (s.u[k + 2] + r * s.u[k + 1]) + t * (s.u[k + 6] + q * (s.u[k + 5] + q * s.u[k + 4])));
}

/* Alternating direction, implicit: three fields, each driven by the differences of all. */
static void adi(void) {
  static const double a[3][3] = {{0.031, 0.012, 0.023}, {0.014, 0.035, 0.016}, {0.027, 0.018, 0.039}};
  double(*fields[3])[101][5] = {s.u1, s.u2, s.u3};
  for (int kx = 1; kx < 4; kx++)
    for (int ky = 1; ky < 100; ky++) {
      double d[3];
      for (int f = 0; f < 3; f++) d[f] = fields[f][0][ky + 1][kx] - fields[f][0][ky - 1][kx];
      for (int f = 0; f < 3; f++) {
        double *row = fields[f][0][ky];
        fields[f][1][ky][kx] = row[kx] + a[f][0] * d[0] + a[f][1] * d[1] + a[f][2] * d[2] +
                               0.05 * (row[kx + 1] - 2 * row[kx] + row[kx - 1]);
      }
    }
}

static void integrate_predictors(void) {
  static const double d[7] = {0.1, 0.12, 0.08, 0.05, 0.11, 0.07, 0.03};
  for (int i = 0; i < N; i++) {
    double *p = s.px[i];
    p[0] = d[0] * p[12] + d[1] * p[11] + d[2] * p[10] + d[3] * p[9] + d[4] * p[8] + d[5] * p[7] + d[6] * p[6] +
           0.2 * (p[4] + p[5]) + p[2];
  }
}

static void difference_predictors(void) {
  for (int i = 0; i < N; i++) {
    double value = s.cx[i][4];
    for (int k = 4; k < 14; k++) {
      double before = s.px[i][k];
      s.px[i][k] = value;
      value -= before;
    }
  }
}

static void first_sum(void) {
  s.x[0] = s.y[0];
  for (int k = 1; k < N; k++) s.x[k] = s.x[k - 1] + s.y[k];
}

static void first_difference(void) {
  for (int k = 0; k < N; k++) s.x[k] = s.y[k + 1] - s.y[k];
}

static void particles_in_2d(void) {
  for (int i = 0; i < PARTICLES; i++) {
    double *p = s.p[i];
    int column = (int)p[0] & 63, row = (int)p[1] & 63;
    p[2] += s.b[row][column];
    p[3] += s.c[row][column];
    p[0] += p[2];
    p[1] += p[3];
    column = (int)p[0] & 63, row = (int)p[1] & 63;
    p[0] += s.y[column + 32];
    p[1] += s.z[row + 32];
    s.h[row + s.shift[row]][column + s.shift[column + 32]] += 1;
  }
}

static void particles_in_1d(void) {
  for (int k = 0; k < N; k++) {
    s.ix[k] = (int32_t)s.grd[k];
    s.xi[k] = (double)s.ix[k];
    s.vx[k] = s.ex[s.ix[k] - 1] + (0 - s.xi[k]) * s.dex[s.ix[k] - 1] * 0.001;
    s.xx[k] = s.vx[k] + s.flow[k] + s.xi[k];
    int whole = (int)s.xx[k];
    s.rx[k] = s.xx[k] - whole;
    s.ix[k] = whole & (WIDE - 1);
    s.xx[k] = s.rx[k] + s.ix[k];
  }
  for (int k = 0; k < N; k++) {
    s.rh[s.ix[k]] += 1 - s.rx[k];
    s.rh[s.ix[k] + 1] += s.rx[k];
  }
}

static double larger(double one, double other) { return one > other ? one : other; }

/* "Casual" code: branches on every value. */
static void casual(void) {
  for (int j = 1; j < 7; j++)
    for (int k = 1; k < 100; k++) {
      double t = s.vh[j + 1][k] > s.vh[j][k] ? 0.053 : 0.073, r, q;
      if (s.vf[j][k] < s.vf[j][k - 1]) r = larger(s.vh[j][k - 1], s.vh[j + 1][k - 1]), q = s.vf[j][k - 1];
      else r = larger(s.vh[j][k], s.vh[j + 1][k]), q = s.vf[j][k];
      s.vy[j][k] = sqrt(s.vg[j][k] * s.vg[j][k] + r * r) * t / q;
      if (s.vf[j][k] < s.vf[j - 1][k]) r = larger(s.vg[j - 1][k], s.vg[j - 1][k + 1]), q = s.vf[j - 1][k], t = 0.073;
      else r = larger(s.vg[j][k], s.vg[j][k + 1]), q = s.vf[j][k], t = 0.053;
      s.vs[j][k] = sqrt(s.vh[j][k] * s.vh[j][k] + r * r) * t / q;
    }
}

/* Monte Carlo search: a walk through a list of zones whose direction depends on what is compared in each. */
static void monte_carlo_search(void) {
  int at = 0, found = 0;
  for (int k = 0; k < N; k++) {
    double here = s.u[s.zone[at]], bound = s.v[at];
    if (here < bound) at += 1 + s.shift[at];
    else if (here > 1.5 * bound) at += s.zone[at] & 15;
    else if ((here - s.w[at]) * (here - s.w[at]) < 0.0001) found += at, at += 7;
    else at += 3;
    if (at >= N) at -= N;
  }
  s.place = found;
}

static void implicit_conditional(void) {
  double xnm = 1.0 / 3, e6 = 1.03 / 3.07;
  for (int k = 100; k > 0; k--) {
    double e3 = xnm * s.u[k] + s.v[k], xnei = s.xx[k], bound = 5.0 / 3 * e3;
    s.rx[k] = e6;
    if (xnm <= bound && xnei <= bound) {
      s.w[k] = e3;
      e6 = e3 + e3 - xnm;
      s.xx[k] = e3 + e3 - xnei;
    } else {
      e6 = xnm * s.y[k] + s.z[k];
      s.w[k] = s.xx[k] = e6;
    }
    xnm = e6;
  }
}

static void explicit_hydro(void) {
  const double t = 0.0037, f = 0.0041;
  for (int j = 1; j < 100; j++)
    for (int k = 1; k < 7; k++) {
      s.za[j][k] = (s.zp[j - 1][k + 1] + s.zq[j - 1][k + 1] - s.zp[j - 1][k] - s.zq[j - 1][k]) *
                   (s.zr[j][k] + s.zr[j - 1][k]) / (s.zm[j - 1][k] + s.zm[j - 1][k + 1]);
      s.zb[j][k] = (s.zp[j - 1][k] + s.zq[j - 1][k] - s.zp[j][k] - s.zq[j][k]) * (s.zr[j][k] + s.zr[j][k - 1]) /
                   (s.zm[j][k] + s.zm[j - 1][k]);
    }
  for (int j = 1; j < 100; j++)
    for (int k = 1; k < 7; k++) {
      const double right = s.za[j][k], left = s.za[j][k - 1], low = s.zb[j][k], high = s.zb[j + 1][k];
      s.zu[j][k] += f * (right * (s.zz[j][k] - s.zz[j][k + 1]) - left * (s.zz[j][k] - s.zz[j][k - 1]) -
                         low * (s.zz[j][k] - s.zz[j - 1][k]) + high * (s.zz[j][k] - s.zz[j + 1][k]));
      s.zv[j][k] += f * (right * (s.zr[j][k] - s.zr[j][k + 1]) - left * (s.zr[j][k] - s.zr[j][k - 1]) -
                         low * (s.zr[j][k] - s.zr[j - 1][k]) + high * (s.zr[j][k] - s.zr[j + 1][k]));
    }
  for (int j = 1; j < 100; j++)
    for (int k = 1; k < 7; k++) {
      s.zr[j][k] += t * s.zu[j][k];
      s.zz[j][k] += t * s.zv[j][k];
    }
}

static void recurrence_there_and_back(void) {
  double carried = 0.0153;
  for (int k = 0; k < 101; k++) {
    s.b5[k] = s.sa[k] + carried * s.sb[k];
    carried = s.b5[k] - carried;
  }
  for (int k = 100; k >= 0; k--) {
    s.b5[k] = s.sa[k] + carried * s.sb[k];
    carried = s.b5[k] - carried;
  }
}

static void discrete_ordinates(void) {
  for (int k = 0; k < N; k++) {
    double di = s.y[k] - s.g[k] / (s.xx[k] + 0.0625), dn = 0.2;
    if (di != 0) {
      dn = s.z[k] / di;
      if (dn > 0.9) dn = 0.9;
      if (dn < 0.1) dn = 0.1;
    }
    s.x[k] = ((s.w[k] + s.v[k] * dn) * s.xx[k] + s.u[k]) / (s.vx[k] + s.v[k] * dn);
    s.xx[k + 1] = (s.x[k] - s.xx[k]) * dn + s.xx[k];
  }
}

static void matrix_product(void) {
  for (int k = 0; k < 25; k++)
    for (int i = 0; i < 25; i++)
      for (int j = 0; j < 101; j++) s.px[j][i] += s.vy[k][i] * s.cx[j][k];
}

static void planckian(void) {
  for (int k = 0; k < 101; k++) {
    s.y[k] = s.u[k] / s.v[k];
    s.w[k] = s.x[k] / (exp(s.y[k]) - 1);
  }
}

static void implicit_hydro(void) {
  for (int j = 1; j < 7; j++)
    for (int k = 1; k < 100; k++) {
      double q = s.za[k][j + 1] * s.zr[k][j] + s.za[k][j - 1] * s.zb[k][j] + s.za[k + 1][j] * s.zu[k][j] +
                 s.za[k - 1][j] * s.zv[k][j] + s.zz[k][j];
      s.za[k][j] += 0.175 * (q - s.za[k][j]);
    }
}

static void first_minimum(void) {
  int at = 0;
  s.x[N / 2] = -1e10;
  for (int k = 1; k < N; k++)
    if (s.x[k] < s.x[at]) at = k;
  s.place = at;
}

/* Steps of a kernel's loop, and floating point operations of each. */
static const struct kernel {
  const char *name;
  void (*run)(void);
  uint32_t steps, operations;
} kernels[] = {{"hydro fragment", hydro_fragment, N, 5},
               {"iccg", iccg, 511, 4},
               {"inner product", inner_product, N, 2},
               {"banded equations", banded_equations, 400, 2},
               {"tridiagonal elimination", tridiagonal_elimination, N - 1, 2},
               {"linear recurrence", linear_recurrence, 63 * 32, 2},
               {"equation of state", equation_of_state, N, 16},
               {"adi", adi, 3 * 99, 36},
               {"integrate predictors", integrate_predictors, N, 17},
               {"difference predictors", difference_predictors, N, 9},
               {"first sum", first_sum, N - 1, 1},
               {"first difference", first_difference, N, 1},
               {"2-D particles", particles_in_2d, PARTICLES, 7},
               {"1-D particles", particles_in_1d, N, 11},
               {"casual", casual, 6 * 99, 33},
               {"Monte Carlo search", monte_carlo_search, N, 2},
               {"implicit conditional", implicit_conditional, 100, 9},
               {"explicit hydro", explicit_hydro, 99 * 6, 44},
               {"recurrence there and back", recurrence_there_and_back, 2 * 101, 3},
               {"discrete ordinates", discrete_ordinates, N, 17},
               {"matrix product", matrix_product, 25 * 25 * 101, 2},
               {"Planckian", planckian, 101, 17},
               {"implicit hydro", implicit_hydro, 6 * 99, 11},
               {"first minimum", first_minimum, N - 1, 1}};
#define KERNELS (sizeof kernels / sizeof kernels[0])

static uint64_t run_kernel(const struct kernel *kernel) {
  make_space();
  for (int repeat = 0; repeat < REPEATS; repeat++) kernel->run();
  return digest(REPEATS, &s, sizeof s & ~7ull);
}

static int is_finite(void) {
  const double *values = (const double *)&s;
  for (uint64_t i = 0; i < offsetof(struct space, shift) / sizeof *values; i++)
    if (!isfinite(values[i])) return 0;
  return 1;
}

int livermore_main(int argc, char **argv) {
  uint64_t wanted[KERNELS];
  (void)argc, (void)argv;
  make_space();
  const uint64_t untouched = digest(REPEATS, &s, sizeof s & ~7ull);
  for (uint64_t i = 0; i < KERNELS; i++) {
    wanted[i] = run_kernel(&kernels[i]);
    if (!is_finite()) work_failed("%s: the first pass has results that are not finite", kernels[i].name);
    if (wanted[i] == untouched) work_failed("%s: the first pass wrote nothing", kernels[i].name);
  }
  work_begins();
  while (work_goes_on()) {
    for (uint64_t i = 0; i < KERNELS; i++) {
      uint64_t found = run_kernel(&kernels[i]);
      if (found != wanted[i])
        work_failed("%s: result is %llx, was %llx", kernels[i].name, (unsigned long long)found,
                    (unsigned long long)wanted[i]);
      work_done((uint64_t)REPEATS * kernels[i].steps * kernels[i].operations / 1000);
    }
  }
  return 0;
}
