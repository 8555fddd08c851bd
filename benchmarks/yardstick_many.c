/* How fast one learning step of many predictions can be on this machine, in C: one layer of linear RTU with exact RTRL,
 * m linear readouts with a cumulant and a discount each, TD(lambda) with a trace of body and readout for each, SGD. The
 * same equations as rtu_np (docs/derivations.md (65), (66)) with all that a C compiler may do to the arithmetic: four
 * predictions share each read of the sensitivities and of the sum.
 *
 *   cc -O3 -march=native -ffast-math -DREAL=float yardstick_many.c -o yardstick_many -lm
 *   ./yardstick_many UNITS INPUTS STEPS M          prints the microseconds per step of the best of five runs
 *   ./yardstick_many UNITS INPUTS STEPS M FILE     prints the predictions of one run, with the step size 1e-3, from what
 *                                                  FILE holds in doubles: nu_log, theta_log, W1, W2, observations, cumulants
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>
#include <time.h>

#ifndef REAL
#define REAL double
#endif
typedef REAL real;
typedef real *restrict array;
typedef const real *restrict input;

static int n, d, m;

static real *zeros(size_t count, int stagger) {
  size_t bytes = (count * sizeof(real) + 4095) / 4096 * 4096 + 8192;
  char *raw = aligned_alloc(4096, bytes);
  memset(raw, 0, bytes);
  return (real *)(raw + stagger % 32 * 128);
}

static double uniform(void) { return (rand() + 1.0) / (RAND_MAX + 2.0); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void fill(FILE *file, real *to, size_t count) {
  double value;
  for (size_t k = 0; k < count; k++)
    if (fread(&value, sizeof value, 1, file) == 1) to[k] = value;
}

static void units(input a, input b, array g, array p, array scale, array slope, array nu, array theta) {
  for (int i = 0; i < n; i++) nu[i] = exp(a[i]);
  for (int i = 0; i < n; i++) theta[i] = exp(b[i]);
  for (int i = 0; i < n; i++) slope[i] = exp(-nu[i]);
  for (int i = 0; i < n; i++) g[i] = slope[i] * cos(theta[i]);
  for (int i = 0; i < n; i++) p[i] = slope[i] * sin(theta[i]);
  for (int i = 0; i < n; i++) {
    real r = slope[i];
    scale[i] = sqrt((1 - r) * (1 + r));
    slope[i] = nu[i] * r * r / scale[i];
  }
}

static void drive(input w1, input w2, input x, array drive1, array drive2) {
  for (int i = 0; i < n; i++) drive1[i] = drive2[i] = 0;
  for (int j = 0; j < d; j++)
    for (int i = 0; i < n; i++) {
      drive1[i] += w1[(size_t)j * n + i] * x[j];
      drive2[i] += w2[(size_t)j * n + i] * x[j];
    }
}

static void move(input g, input p, input scale, input slope, input nu, input theta, input drive1, input drive2, array c1,
                 array c2, array a1, array a2, array b1, array b2) {
  for (int i = 0; i < n; i++) {
    real turned1 = g[i] * c1[i] - p[i] * c2[i], turned2 = g[i] * c2[i] + p[i] * c1[i], old;
    c1[i] = turned1 + scale[i] * drive1[i];
    c2[i] = turned2 + scale[i] * drive2[i];
    old = a1[i];
    a1[i] = g[i] * old - p[i] * a2[i] - nu[i] * turned1 + slope[i] * drive1[i];
    a2[i] = g[i] * a2[i] + p[i] * old - nu[i] * turned2 + slope[i] * drive2[i];
    old = b1[i];
    b1[i] = g[i] * old - p[i] * b2[i] - theta[i] * turned2;
    b2[i] = g[i] * b2[i] + p[i] * old + theta[i] * turned1;
  }
}

static void sensitivities(input x, input g, input p, input scale, array e1, array e2) {
  for (int j = 0; j < d; j++, e1 += n, e2 += n)
    for (int i = 0; i < n; i++) {
      real old = e1[i];
      e1[i] = g[i] * old - p[i] * e2[i] + scale[i] * x[j];
      e2[i] = g[i] * e2[i] + p[i] * old;
    }
}

static void features(array c1, array c2, array y) {
  for (int i = 0; i < n; i++) y[i] = tanh(c1[i]);
  for (int i = 0; i < n; i++) y[n + i] = tanh(c2[i]);
}

static void read_out(input w, input b, input before, input now, array v_tm1, array v) {
  for (int j = 0; j < m; j++) {
    real s = b[j], t = b[j];
    for (int k = 0; k < 2 * n; k++) {
      s += w[(size_t)j * 2 * n + k] * before[k];
      t += w[(size_t)j * 2 * n + k] * now[k];
    }
    v_tm1[j] = s, v[j] = t;
  }
}

static void learn_readout(real step, real decay, array w, array z, input y) {
  for (int k = 0; k < 2 * n; k++) {
    w[k] += step * z[k];
    z[k] = decay * z[k] + y[k];
  }
}

static void add(int count, array to, input from) {
  for (int k = 0; k < count; k++) to[k] += from[k];
}

/* Of four predictions, whose traces of W1 and W2 begin at z[0] .. z[7]: the sums of steps times traces, and the traces. */
static void learn_row(real s0, real s1, real s2, real s3, real q0, real q1, real q2, real q3, input e1, input e2, input d1,
                      input d2, array a1, array a2, array b1, array b2, array c1, array c2, array f1, array f2, array sum1,
                      array sum2) {
  for (int i = 0; i < n; i++) {
    const real e = e1[i], f = e2[i], t1 = a1[i], t2 = a2[i], u1 = b1[i], u2 = b2[i];
    const real v1 = c1[i], v2 = c2[i], w1 = f1[i], w2 = f2[i];
    sum1[i] += s0 * t1 + s1 * u1 + s2 * v1 + s3 * w1;
    sum2[i] += s0 * t2 + s1 * u2 + s2 * v2 + s3 * w2;
    a1[i] = q0 * t1 + d1[i] * e + d2[i] * f;
    a2[i] = q0 * t2 + d2[i] * e - d1[i] * f;
    b1[i] = q1 * u1 + d1[n + i] * e + d2[n + i] * f;
    b2[i] = q1 * u2 + d2[n + i] * e - d1[n + i] * f;
    c1[i] = q2 * v1 + d1[2 * n + i] * e + d2[2 * n + i] * f;
    c2[i] = q2 * v2 + d2[2 * n + i] * e - d1[2 * n + i] * f;
    f1[i] = q3 * w1 + d1[3 * n + i] * e + d2[3 * n + i] * f;
    f2[i] = q3 * w2 + d2[3 * n + i] * e - d1[3 * n + i] * f;
  }
}

static void learn_weights(const real *s, const real *q, const real *e1, const real *e2, const real *d1, const real *d2,
                          real *z, size_t row, real *sum) {
  const size_t nd = (size_t)n * d;
  for (size_t k = 0; k < nd; k += n)
    learn_row(s[0], s[1], s[2], s[3], q[0], q[1], q[2], q[3], e1 + k, e2 + k, d1, d2, z + k, z + k + nd, z + row + k,
              z + row + k + nd, z + 2 * row + k, z + 2 * row + k + nd, z + 3 * row + k, z + 3 * row + k + nd, sum + k,
              sum + k + nd);
}

static void learn_units(real s, real q, input e1, input e2, input d1, input d2, array z, array sum) {
  for (int i = 0; i < n; i++) {
    sum[i] += s * z[i];
    z[i] = q * z[i] + d1[i] * e1[i] + d2[i] * e2[i];
  }
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6) return fprintf(stderr, "usage: %s UNITS INPUTS STEPS M [FILE]\n", argv[0]), 2;
  n = atoi(argv[1]), d = atoi(argv[2]), m = atoi(argv[4]);
  const int steps = atoi(argv[3]), repeats = argc == 6 ? 1 : 5, four = (m + 3) / 4 * 4;
  FILE *file = argc == 6 ? fopen(argv[5], "rb") : NULL;
  const real lambda = .9, step_size = file ? 1e-3 : 1e-6;
  const size_t nd = (size_t)n * d, weights = 2 * nd, row = 2 * n + weights + 32; /* nu_log, theta_log, W1, W2 */
  real *params = zeros(row, 1), *sum = zeros(row, 2), *traces = zeros(row * four, 3);
  real *e1 = zeros(nd, 4), *e2 = zeros(nd, 5), *y = zeros(2 * n, 6), *before = zeros(2 * n, 7);
  real *w = zeros((size_t)four * 2 * n, 8), *zw = zeros((size_t)four * 2 * n, 9), *b = zeros(four, 10), *zb = zeros(four, 11);
  real *v = zeros(four, 12), *v_tm1 = zeros(four, 13), *step = zeros(four, 14), *decay = zeros(four, 15), *gamma = zeros(four, 16);
  real *d1 = zeros(4 * n, 17), *d2 = zeros(4 * n, 18), *u[14];
  for (int k = 0; k < 14; k++) u[k] = zeros(n, 19 + k);
  real *x = zeros((size_t)steps * d, 0), *cumulants = zeros((size_t)steps * m, 0);
  for (int i = 0; i < n; i++) params[i] = log(-.5 * log(.99 * uniform())), params[n + i] = log(6.28 * uniform());
  for (size_t k = 0; k < weights; k++) params[2 * n + k] = (2 * uniform() - 1) / sqrt(d);
  for (size_t k = 0; k < (size_t)steps * d; k++) x[k] = 2 * uniform() - 1;
  for (size_t k = 0; k < (size_t)steps * m; k++) cumulants[k] = uniform() < .05;
  for (int j = 0; j < m; j++) gamma[j] = .5 + .49 * j / m;
  if (file) fill(file, params, 2 * n + weights), fill(file, x, (size_t)steps * d), fill(file, cumulants, (size_t)steps * m);

  double best = INFINITY;
  for (int repeat = 0; repeat < repeats; repeat++) {
    double began = now();
    for (int t = 0; t < steps; t++) {
      const real *x_t = x + (size_t)t * d, *c = cumulants + (size_t)t * m;
      memcpy(before, y, 2 * n * sizeof(real));
      units(params, params + n, u[0], u[1], u[2], u[3], u[4], u[5]);
      drive(params + 2 * n, params + 2 * n + nd, x_t, u[6], u[7]);
      move(u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13]);
      features(u[8], u[9], y);
      read_out(w, b, before, y, v_tm1, v);
      for (int j = 0; j < m; j++) {
        step[j] = t ? step_size * (c[j] + gamma[j] * v[j] - v_tm1[j]) : 0;
        decay[j] = lambda * gamma[j];
      }
      sensitivities(x_t, u[0], u[1], u[2], e1, e2);
      memset(sum, 0, row * sizeof(real));
      for (int j = 0; j < four; j += 4) {
        for (int k = 0; k < 4; k++)
          for (int i = 0; i < n; i++) {
            const real *w_j = w + (size_t)(j + k) * 2 * n;
            d1[k * n + i] = w_j[i] * (1 - y[i] * y[i]);
            d2[k * n + i] = w_j[n + i] * (1 - y[n + i] * y[n + i]);
          }
        real *z = traces + j * row;
        for (int k = 0; k < 4; k++) {
          learn_units(step[j + k], decay[j + k], u[10], u[11], d1 + k * n, d2 + k * n, z + k * row, sum);
          learn_units(step[j + k], decay[j + k], u[12], u[13], d1 + k * n, d2 + k * n, z + k * row + n, sum + n);
        }
        learn_weights(step + j, decay + j, e1, e2, d1, d2, z + 2 * n, row, sum + 2 * n);
        for (int k = j; k < j + 4; k++)
          learn_readout(step[k], decay[k], w + (size_t)k * 2 * n, zw + (size_t)k * 2 * n, y);
      }
      for (int j = 0; j < m; j++) b[j] += step[j] * zb[j], zb[j] = decay[j] * zb[j] + 1;
      add(2 * n + weights, params, sum);
      if (file)
        for (int j = 0; j < m; j++) printf("%.17g\n", (double)v[j]);
    }
    best = fmin(best, (now() - began) / steps);
  }
  if (!isfinite((double)v[0])) return 1;
  if (!file) printf("%.4f\n", best * 1e6);
  return 0;
}
