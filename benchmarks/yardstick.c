/* How fast one learning step can be on this machine, in C: linear RTU, exact RTRL, TD(lambda) with accumulating traces,
 * tanh, linear readout, SGD. The same equations as rtu_np (docs/derivations.md (3)-(20)) in two fused passes over the
 * weights, unit index innermost, with all that a C compiler may do to the arithmetic. yardstick.h says how to call it;
 * its FILE begins with nu_log, theta_log, W1, W2.
 */
#define FEATURES 2
#include "yardstick.h"

enum { NU_LOG, THETA_LOG, NU, THETA, C1, C2, G, P, SCALE, SLOPE, DRIVE1, DRIVE2, A1, A2, B1, B2, D1, D2, ZA, ZB, VECTORS };
enum { W1, W2, E1, E2, T1, T2, MATRICES };
static real *v[VECTORS], *m[MATRICES];

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

static void make(int n, int d) {
  for (int k = 0; k < VECTORS; k++) v[k] = zeros(n, k);
  for (int k = 0; k < MATRICES; k++) m[k] = zeros((size_t)n * d, 5 * k);
  for (int i = 0; i < n; i++) v[NU_LOG][i] = log(-.5 * log(.99 * uniform())), v[THETA_LOG][i] = log(6.28 * uniform());
  for (size_t k = 0; k < (size_t)n * d; k++) m[W1][k] = (2 * uniform() - 1) / sqrt(d), m[W2][k] = (2 * uniform() - 1) / sqrt(d);
}

static void read_parameters(FILE *file, int n, int d) {
  fill(file, v[NU_LOG], n), fill(file, v[THETA_LOG], n);
  fill(file, m[W1], (size_t)n * d), fill(file, m[W2], (size_t)n * d);
}

static void advance(int n, int d, const real *restrict x, real **y) {
  units(n, v[NU_LOG], v[THETA_LOG], v[G], v[P], v[SCALE], v[SLOPE], v[NU], v[THETA]);
  drive(n, d, m[W1], m[W2], x, v[DRIVE1], v[DRIVE2]);
  move(n, v[G], v[P], v[SCALE], v[SLOPE], v[NU], v[THETA], v[DRIVE1], v[DRIVE2], v[C1], v[C2], v[A1], v[A2], v[B1], v[B2]);
  features(n, v[C1], v[C2], y[0], y[1]);
}

static void learn(int n, int d, real step, real decay, const real *restrict x, real **y, real **dv_dy) {
  for (int i = 0; i < n; i++) {
    v[D1][i] = dv_dy[0][i] * (1 - y[0][i] * y[0][i]);
    v[D2][i] = dv_dy[1][i] * (1 - y[1][i] * y[1][i]);
  }
  learn_units(n, step, decay, v[NU_LOG], v[ZA], v[A1], v[A2], v[D1], v[D2]);
  learn_units(n, step, decay, v[THETA_LOG], v[ZB], v[B1], v[B2], v[D1], v[D2]);
  learn_weights(n, d, step, decay, x, v[G], v[P], v[SCALE], v[D1], v[D2], m[W1], m[W2], m[E1], m[E2], m[T1], m[T2]);
}
