/* How fast one learning step can be on this machine, in C: minGRU, exact RTRL, TD(lambda) with accumulating traces, linear
 * readout, SGD. The same equations as rtu_np (docs/derivations.md (18)-(20), (55), (56)) in two fused passes over the
 * weights, unit index innermost, with all that a C compiler may do to the arithmetic. yardstick.h says how to call it;
 * its FILE begins with W_z, W_h, b_z, b_h.
 */
#define FEATURES 1
#include "yardstick_gated.h"

enum { B_Z, B_H, H, KEEP, BY_Z, BY_H, DRIVE_Z, DRIVE_H, E_Z, E_H, T_Z, T_H, VECTORS };
enum { W_Z, W_H, EW_Z, EW_H, TW_Z, TW_H, MATRICES };
static real *v[VECTORS], *m[MATRICES];

static void move(int n, array z, array a, array b_z, array b_h, array h, array keep, array by_z, array by_h, array e_z,
                 array e_h, array y) {
  for (int i = 0; i < n; i++) {
    real power = exp(-(z[i] + b_z[i])), at = a[i] + b_h[i], low = 1 / (1 + exp(-at)), u = 1 / (1 + power);
    real g = at < 0 ? low : at + (real).5, slope = at < 0 ? low * (1 - low) : 1, change = u * (g - h[i]);
    keep[i] = 1 - u;
    h[i] = y[i] = h[i] + change;
    by_z[i] = change * keep[i];
    by_h[i] = u * slope;
    e_z[i] = keep[i] * e_z[i] + by_z[i];
    e_h[i] = keep[i] * e_h[i] + by_h[i];
  }
}

static void make(int n, int d) {
  for (int k = 0; k < VECTORS; k++) v[k] = zeros(n, k);
  for (int k = 0; k < MATRICES; k++) m[k] = zeros((size_t)n * d, 5 * k);
  for (size_t k = 0; k < (size_t)n * d; k++) m[W_Z][k] = (2 * uniform() - 1) / sqrt(d), m[W_H][k] = (2 * uniform() - 1) / sqrt(d);
}

static void read_parameters(FILE *file, int n, int d) {
  fill(file, m[W_Z], (size_t)n * d), fill(file, m[W_H], (size_t)n * d), fill(file, v[B_Z], n), fill(file, v[B_H], n);
}

static void advance(int n, int d, const real *restrict x, real **y) {
  drive_well(n, d, m[W_Z], m[W_H], x, v[DRIVE_Z], v[DRIVE_H]);
  move(n, v[DRIVE_Z], v[DRIVE_H], v[B_Z], v[B_H], v[H], v[KEEP], v[BY_Z], v[BY_H], v[E_Z], v[E_H], y[0]);
}

static void learn(int n, int d, real step, real decay, const real *restrict x, real **y, real **dv_dy) {
  learn_pair(n, step, decay, v[B_Z], v[B_H], v[T_Z], v[T_H], v[E_Z], v[E_H], dv_dy[0]);
  learn_weights(n, d, step, decay, x, v[KEEP], v[BY_Z], v[BY_H], dv_dy[0], m[W_Z], m[W_H], m[EW_Z], m[EW_H], m[TW_Z], m[TW_H]);
}
