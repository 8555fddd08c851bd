/* How fast one learning step can be on this machine, in C: eLSTM, exact RTRL, TD(lambda) with accumulating traces, linear
 * readout, SGD. The same equations as rtu_np (docs/derivations.md (18)-(20), (83), (84)) in two fused passes over the
 * weights, unit index innermost, with all that a C compiler may do to the arithmetic. yardstick.h says how to call it;
 * its FILE begins with W_z, W_f, w_z, w_f, b_z, b_f.
 */
#define FEATURES 1
#include "yardstick_gated.h"

enum { OWN_Z, OWN_F, B_Z, B_F, H, KEEP, BY_Z, BY_F, CANDIDATE, GATE, EO_Z, EO_F, EB_Z, EB_F, TO_Z, TO_F, TB_Z, TB_F, VECTORS };
enum { W_Z, W_F, EW_Z, EW_F, TW_Z, TW_F, MATRICES };
static real *v[VECTORS], *m[MATRICES];

static void gates(int n, array z, array f, array own_z, array own_f, array b_z, array b_f, array h) {
  /* One function a loop, so that each is the compiler's vector function. */
  for (int i = 0; i < n; i++) z[i] = tanh(z[i] + own_z[i] * h[i] + b_z[i]);
  for (int i = 0; i < n; i++) f[i] = 1 / (1 + exp(-(f[i] + own_f[i] * h[i] + b_f[i])));
}

static void move(int n, array z, array f, array own_z, array own_f, array h, array keep, array by_z, array by_f, array eo_z,
                 array eo_f, array eb_z, array eb_f, array y) {
  for (int i = 0; i < n; i++) {
    real opened = 1 - f[i], old = h[i], change = opened * (z[i] - old);
    real to_z = opened * (1 - z[i] * z[i]), to_f = -f[i] * change, kept = f[i] + to_z * own_z[i] + to_f * own_f[i];
    h[i] = y[i] = old + change;
    eo_z[i] = kept * eo_z[i] + to_z * old;
    eo_f[i] = kept * eo_f[i] + to_f * old;
    eb_z[i] = kept * eb_z[i] + to_z;
    eb_f[i] = kept * eb_f[i] + to_f;
    keep[i] = kept;
    by_z[i] = to_z;
    by_f[i] = to_f;
  }
}

static void make(int n, int d) {
  for (int k = 0; k < VECTORS; k++) v[k] = zeros(n, k);
  for (int k = 0; k < MATRICES; k++) m[k] = zeros((size_t)n * d, 5 * k);
  for (int i = 0; i < n; i++) v[OWN_Z][i] = .2 * uniform() - .1, v[OWN_F][i] = .2 * uniform() - .1;
  for (size_t k = 0; k < (size_t)n * d; k++) m[W_Z][k] = .2 * uniform() - .1, m[W_F][k] = .2 * uniform() - .1;
}

static void read_parameters(FILE *file, int n, int d) {
  fill(file, m[W_Z], (size_t)n * d), fill(file, m[W_F], (size_t)n * d);
  fill(file, v[OWN_Z], n), fill(file, v[OWN_F], n), fill(file, v[B_Z], n), fill(file, v[B_F], n);
}

static void advance(int n, int d, const real *restrict x, real **y) {
  drive_well(n, d, m[W_Z], m[W_F], x, v[CANDIDATE], v[GATE]);
  gates(n, v[CANDIDATE], v[GATE], v[OWN_Z], v[OWN_F], v[B_Z], v[B_F], v[H]);
  move(n, v[CANDIDATE], v[GATE], v[OWN_Z], v[OWN_F], v[H], v[KEEP], v[BY_Z], v[BY_F], v[EO_Z], v[EO_F], v[EB_Z], v[EB_F], y[0]);
}

static void learn(int n, int d, real step, real decay, const real *restrict x, real **y, real **dv_dy) {
  learn_pair(n, step, decay, v[OWN_Z], v[OWN_F], v[TO_Z], v[TO_F], v[EO_Z], v[EO_F], dv_dy[0]);
  learn_pair(n, step, decay, v[B_Z], v[B_F], v[TB_Z], v[TB_F], v[EB_Z], v[EB_F], dv_dy[0]);
  learn_weights(n, d, step, decay, x, v[KEEP], v[BY_Z], v[BY_F], dv_dy[0], m[W_Z], m[W_F], m[EW_Z], m[EW_F], m[TW_Z], m[TW_F]);
}
