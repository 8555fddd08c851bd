/* How fast one learning step can be on this machine, in C: linear RTU, exact RTRL, TD(lambda) with accumulating traces,
 * tanh, linear readout, SGD. The same equations as rtu_np (docs/derivations.md (3)-(20)) in two fused passes over the
 * weights, unit index innermost, with all that a C compiler may do to the arithmetic. yardstick.h says how to call it;
 * its FILE begins with nu_log, theta_log, W1, W2.
 */
#define FEATURES 2
#include "yardstick_rtu.h"

enum { NU_LOG, THETA_LOG, NU, THETA, C1, C2, G, P, SCALE, SLOPE, DRIVE1, DRIVE2, A1, A2, B1, B2, D1, D2, ZA, ZB, VECTORS };
enum { W1, W2, E1, E2, T1, T2, MATRICES };
static real *v[VECTORS], *m[MATRICES];

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
