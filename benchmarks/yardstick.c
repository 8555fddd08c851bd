/* How fast one learning step can be on this machine, in C: linear RTU, exact RTRL, TD(lambda) with accumulating traces,
 * tanh, linear readout, SGD. The same equations as rtu_np (docs/derivations.md (3)-(20)) in two fused passes over the
 * weights, unit index innermost, with all that a C compiler may do to the arithmetic.
 *
 *   cc -O3 -march=native -ffast-math -DREAL=double yardstick.c -o yardstick -lm
 *   ./yardstick UNITS INPUTS STEPS            prints the microseconds per step of the best of five runs
 *   ./yardstick UNITS INPUTS STEPS FILE       prints the predictions of one run, with the step size 1e-3, from what FILE
 *                                             holds in doubles: nu_log, theta_log, W1, W2, observations, cumulants
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

enum { NU, THETA, C1, C2, G, P, SCALE, SLOPE, DRIVE1, DRIVE2, A1, A2, B1, B2, Y1, Y2, D1, D2, V1, V2, ZA, ZB, Z1, Z2, VECTORS };
enum { W1, W2, E1, E2, T1, T2, MATRICES };

static real *zeros(size_t n, int stagger) {
  /* Arrays at the same offset of a page would collide in the cache: each starts some lines after the one before. */
  char *raw = aligned_alloc(4096, (n * sizeof(real) + 4095) / 4096 * 4096 + 8192);
  memset(raw, 0, (n * sizeof(real) + 4095) / 4096 * 4096 + 8192);
  return (real *)(raw + stagger % 32 * 128);
}

static double uniform(void) { return (rand() + 1.0) / (RAND_MAX + 2.0); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void units(int n, array a, array b, array g, array p, array scale, array slope, array nu, array theta) {
  /* One function a loop: gcc would make a scalar sincos of the two, and scalar calls of what stands beside it. */
  for (int i = 0; i < n; i++) nu[i] = exp(a[i]);
  for (int i = 0; i < n; i++) theta[i] = exp(b[i]);
  for (int i = 0; i < n; i++) slope[i] = exp(-nu[i]);
  for (int i = 0; i < n; i++) g[i] = slope[i] * cos(theta[i]);
  for (int i = 0; i < n; i++) p[i] = slope[i] * sin(theta[i]);
  for (int i = 0; i < n; i++) {
    real r = slope[i];
    scale[i] = sqrt((1 - r) * (1 + r)); /* expm1 would be exact, and does not vectorise in C */
    slope[i] = nu[i] * r * r / scale[i];
  }
}

static void drive(int n, int d, array w1, array w2, const real *restrict x, array drive1, array drive2) {
  for (int i = 0; i < n; i++) drive1[i] = drive2[i] = 0;
  for (int j = 0; j < d; j++)
    for (int i = 0; i < n; i++) {
      drive1[i] += w1[(size_t)j * n + i] * x[j];
      drive2[i] += w2[(size_t)j * n + i] * x[j];
    }
}

static void move(int n, array g, array p, array scale, array slope, array nu, array theta, array drive1, array drive2,
                 array c1, array c2, array a1, array a2, array b1, array b2) {
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

static real read_out(int n, array w1, array w2, real bias, array y1, array y2) {
  real v = bias;
  for (int i = 0; i < n; i++) v += w1[i] * y1[i] + w2[i] * y2[i];
  return v;
}

static void features(int n, array c1, array c2, array y1, array y2) {
  for (int i = 0; i < n; i++) y1[i] = tanh(c1[i]);
  for (int i = 0; i < n; i++) y2[i] = tanh(c2[i]);
}

static void learn_units(int n, real step, real decay, array w, array z, array e1, array e2, array d1, array d2) {
  for (int i = 0; i < n; i++) {
    w[i] += step * z[i];
    z[i] = decay * z[i] + d1[i] * e1[i] + d2[i] * e2[i];
  }
}

static void learn_readout(int n, real step, real decay, array w, array z, array y) {
  for (int i = 0; i < n; i++) {
    w[i] += step * z[i];
    z[i] = decay * z[i] + y[i];
  }
}

static void learn_weights(int n, int d, real step, real decay, const real *restrict x, array g, array p, array scale,
                          array d1, array d2, array w1, array w2, array e1, array e2, array t1, array t2) {
  for (int j = 0; j < d; j++, w1 += n, w2 += n, e1 += n, e2 += n, t1 += n, t2 += n)
    for (int i = 0; i < n; i++) {
      real s1 = g[i] * e1[i] - p[i] * e2[i] + scale[i] * x[j], s2 = g[i] * e2[i] + p[i] * e1[i];
      e1[i] = s1;
      e2[i] = s2;
      w1[i] += step * t1[i];
      w2[i] += step * t2[i];
      t1[i] = decay * t1[i] + d1[i] * s1 + d2[i] * s2;
      t2[i] = decay * t2[i] + d2[i] * s1 - d1[i] * s2;
    }
}

static void fill(FILE *file, real *to, size_t n) {
  double value;
  for (size_t k = 0; k < n; k++)
    if (fread(&value, sizeof value, 1, file) == 1) to[k] = value;
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5) return fprintf(stderr, "usage: %s UNITS INPUTS STEPS [FILE]\n", argv[0]), 2;
  const int n = atoi(argv[1]), d = atoi(argv[2]), steps = atoi(argv[3]), repeats = argc == 5 ? 1 : 5;
  FILE *file = argc == 5 ? fopen(argv[4], "rb") : NULL;
  const real gamma = .9, decay = .81, step_size = file ? 1e-3 : 1e-6;
  real *v[VECTORS], *m[MATRICES], *a = zeros(n, 1), *b = zeros(n, 2), *nu = zeros(n, 3), *theta = zeros(n, 4);
  for (int k = 0; k < VECTORS; k++) v[k] = zeros(n, k);
  for (int k = 0; k < MATRICES; k++) m[k] = zeros((size_t)n * d, 5 * k);
  real *x = zeros((size_t)steps * d, 0), *cumulant = zeros(steps, 0), bias = 0, zbias = 0;
  for (size_t k = 0; k < (size_t)steps * d; k++) x[k] = 2 * uniform() - 1;
  for (int t = 0; t < steps; t++) cumulant[t] = uniform() < .05;
  for (int i = 0; i < n; i++) a[i] = log(-.5 * log(.99 * uniform())), b[i] = log(6.28 * uniform());
  for (size_t k = 0; k < (size_t)n * d; k++) m[W1][k] = (2 * uniform() - 1) / sqrt(d), m[W2][k] = (2 * uniform() - 1) / sqrt(d);
  if (file) fill(file, a, n), fill(file, b, n), fill(file, m[W1], (size_t)n * d), fill(file, m[W2], (size_t)n * d);
  if (file) fill(file, x, (size_t)steps * d), fill(file, cumulant, steps);

  double best = INFINITY;
  real value = 0;
  for (int repeat = 0; repeat < repeats; repeat++) {
    double began = now();
    for (int t = 0; t < steps; t++) {
      const real *x_t = x + (size_t)t * d;
      real v_tm1 = read_out(n, v[V1], v[V2], bias, v[Y1], v[Y2]);
      units(n, a, b, v[G], v[P], v[SCALE], v[SLOPE], nu, theta);
      drive(n, d, m[W1], m[W2], x_t, v[DRIVE1], v[DRIVE2]);
      move(n, v[G], v[P], v[SCALE], v[SLOPE], nu, theta, v[DRIVE1], v[DRIVE2], v[C1], v[C2], v[A1], v[A2], v[B1], v[B2]);
      features(n, v[C1], v[C2], v[Y1], v[Y2]);
      value = read_out(n, v[V1], v[V2], bias, v[Y1], v[Y2]);
      if (file) printf("%.17g\n", (double)value);
      real step = t ? step_size * (cumulant[t] + gamma * value - v_tm1) : 0; /* the first has nothing to learn from */
      for (int i = 0; i < n; i++) {
        v[D1][i] = v[V1][i] * (1 - v[Y1][i] * v[Y1][i]);
        v[D2][i] = v[V2][i] * (1 - v[Y2][i] * v[Y2][i]);
      }
      learn_units(n, step, decay, a, v[ZA], v[A1], v[A2], v[D1], v[D2]);
      learn_units(n, step, decay, b, v[ZB], v[B1], v[B2], v[D1], v[D2]);
      learn_weights(n, d, step, decay, x_t, v[G], v[P], v[SCALE], v[D1], v[D2], m[W1], m[W2], m[E1], m[E2], m[T1], m[T2]);
      learn_readout(n, step, decay, v[V1], v[Z1], v[Y1]);
      learn_readout(n, step, decay, v[V2], v[Z2], v[Y2]);
      bias += step * zbias;
      zbias = decay * zbias + 1;
    }
    best = fmin(best, (now() - began) / steps);
  }
  if (!isfinite((double)value)) return 1;
  if (!file) printf("%.4f\n", best * 1e6);
  return 0;
}
