/* What the yardsticks in C share: TD(lambda) with accumulating traces and SGD on a linear readout, around a cell.
 *
 * A yardstick defines FEATURES, includes this file, and defines the four functions that follow. It is compiled and called
 * like this:
 *
 *   cc -O3 -march=native -ffast-math -DREAL=double yardstick.c -o yardstick -lm
 *   ./yardstick UNITS INPUTS STEPS            prints the microseconds per step of the best of five runs
 *   ./yardstick UNITS INPUTS STEPS FILE       prints the predictions of one run, with the step size 1e-3, from what FILE
 *                                             holds in doubles: parameters of the cell, observations, cumulants
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

static void make(int n, int d);                                                          /* arrays and starting values */
static void read_parameters(FILE *file, int n, int d);
static void advance(int n, int d, const real *restrict x, real **y);                     /* the cell's step: y is written */
static void learn(int n, int d, real step, real decay, const real *restrict x, real **y, real **dv_dy);

static real *zeros(size_t n, int stagger) {
  /* Arrays at the same offset of a page would collide in the cache: each starts some lines after the one before. */
  char *raw = aligned_alloc(4096, (n * sizeof(real) + 4095) / 4096 * 4096 + 8192);
  memset(raw, 0, (n * sizeof(real) + 4095) / 4096 * 4096 + 8192);
  return (real *)(raw + stagger % 32 * 128);
}

static double uniform(void) { return (rand() + 1.0) / (RAND_MAX + 2.0); }

static double now(void) { /* the processor's seconds: other processes do not count */
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void fill(FILE *file, real *to, size_t n) {
  double value;
  for (size_t k = 0; k < n; k++)
    if (fread(&value, sizeof value, 1, file) == 1) to[k] = value;
}

static void drive(int n, int d, array w1, array w2, const real *restrict x, array drive1, array drive2) {
  for (int i = 0; i < n; i++) drive1[i] = drive2[i] = 0;
  for (int j = 0; j < d; j++)
    for (int i = 0; i < n; i++) {
      drive1[i] += w1[(size_t)j * n + i] * x[j];
      drive2[i] += w2[(size_t)j * n + i] * x[j];
    }
}

static real read_out(int n, real **w, real bias, real **y) {
  real v = bias;
  for (int k = 0; k < FEATURES; k++)
    for (int i = 0; i < n; i++) v += w[k][i] * y[k][i];
  return v;
}

static void learn_readout(int n, real step, real decay, array w, array z, array y) {
  for (int i = 0; i < n; i++) {
    w[i] += step * z[i];
    z[i] = decay * z[i] + y[i];
  }
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5) return fprintf(stderr, "usage: %s UNITS INPUTS STEPS [FILE]\n", argv[0]), 2;
  const int n = atoi(argv[1]), d = atoi(argv[2]), steps = atoi(argv[3]), repeats = argc == 5 ? 1 : 5;
  FILE *file = argc == 5 ? fopen(argv[4], "rb") : NULL;
  const real gamma = .9, decay = .81, step_size = file ? 1e-3 : 1e-6;
  real *w[FEATURES], *y[FEATURES], *z[FEATURES], bias = 0, zbias = 0;
  for (int k = 0; k < FEATURES; k++) w[k] = zeros(n, 18 + k), y[k] = zeros(n, 14 + k), z[k] = zeros(n, 22 + k);
  make(n, d);
  real *x = zeros((size_t)steps * d, 0), *cumulant = zeros(steps, 0);
  for (size_t k = 0; k < (size_t)steps * d; k++) x[k] = 2 * uniform() - 1;
  for (int t = 0; t < steps; t++) cumulant[t] = uniform() < .05;
  if (file) read_parameters(file, n, d), fill(file, x, (size_t)steps * d), fill(file, cumulant, steps);

  double best = INFINITY;
  real value = 0;
  for (int repeat = 0; repeat < repeats; repeat++) {
    double began = now();
    for (int t = 0; t < steps; t++) {
      const real *x_t = x + (size_t)t * d;
      real v_tm1 = read_out(n, w, bias, y);
      advance(n, d, x_t, y);
      value = read_out(n, w, bias, y);
      if (file) printf("%.17g\n", (double)value);
      real step = t ? step_size * (cumulant[t] + gamma * value - v_tm1) : 0; /* the first has nothing to learn from */
      learn(n, d, step, decay, x_t, y, w);
      for (int k = 0; k < FEATURES; k++) learn_readout(n, step, decay, w[k], z[k], y[k]);
      bias += step * zbias;
      zbias = decay * zbias + 1;
    }
    best = fmin(best, (now() - began) / steps);
  }
  if (!isfinite((double)value)) return 1;
  if (!file) printf("%.4f\n", best * 1e6);
  return 0;
}
