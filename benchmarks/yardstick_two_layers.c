/* How fast one learning step can be on this machine, in C: two layers of as many linear RTUs, the exact RTRL of both
 * together, TD(lambda) with accumulating traces, tanh, linear readout, SGD. The same equations as rtu_np
 * (docs/derivations.md (3)-(20), (98)-(102)). The effects of the lower layer's parameters on the upper layer are moved,
 * contracted and used for the update in one pass; units above are innermost, and what couples a unit below to them is
 * made once for all parameters of the unit. yardstick.h says how to call it; its FILE begins with nu_log, theta_log, W1,
 * W2 of the lower layer, then of the upper.
 */
#define FEATURES 2
#include "yardstick_rtu.h"

enum { NU_LOG, THETA_LOG, NU, THETA, C1, C2, G, P, SCALE, SLOPE, DRIVE1, DRIVE2, A1, A2, B1, B2, D1, D2, ZA, ZB, Y1, Y2, VECTORS };
enum { W1, W2, E1, E2, T1, T2, MATRICES };
enum { LOWER, UPPER, LAYERS };
static real *v[LAYERS][VECTORS], *m[LAYERS][MATRICES], *coupling[4], *effect, *between;

static void turn_weights(int n, int d, const real *restrict x, array g, array p, array scale, array e1, array e2) {
  for (int j = 0; j < d; j++, e1 += n, e2 += n)
    for (int i = 0; i < n; i++) {
      real s1 = g[i] * e1[i] - p[i] * e2[i] + scale[i] * x[j], s2 = g[i] * e2[i] + p[i] * e1[i];
      e1[i] = s1;
      e2[i] = s2;
    }
}

static void couple(int n, real slope1, real slope2, array scale, array w11, array w12, array w21, array w22, array u11,
                   array u12, array u21, array u22) {
  for (int k = 0; k < n; k++) {
    u11[k] = slope1 * scale[k] * w11[k];
    u12[k] = slope2 * scale[k] * w12[k];
    u21[k] = slope1 * scale[k] * w21[k];
    u22[k] = slope2 * scale[k] * w22[k];
  }
}

static void carry(int n, array g, array p, array d1, array d2, array u11, array u12, array u21, array u22, array e1,
                  array e2, array f1, array f2, const real from[4], real *to_e, real *to_f) {
  real sum_e = 0, sum_f = 0;
  for (int k = 0; k < n; k++) {
    real s1 = g[k] * e1[k] - p[k] * e2[k] + u11[k] * from[0] + u12[k] * from[1];
    real s2 = g[k] * e2[k] + p[k] * e1[k] + u21[k] * from[0] + u22[k] * from[1];
    real r1 = g[k] * f1[k] - p[k] * f2[k] + u11[k] * from[2] + u12[k] * from[3];
    real r2 = g[k] * f2[k] + p[k] * f1[k] + u21[k] * from[2] + u22[k] * from[3];
    e1[k] = s1;
    e2[k] = s2;
    f1[k] = r1;
    f2[k] = r2;
    sum_e += d1[k] * s1 + d2[k] * s2;
    sum_f += d1[k] * r1 + d2[k] * r2;
  }
  *to_e = sum_e;
  *to_f = sum_f;
}

static void follow(real step, real decay, real gradient, real *w, real *z) {
  *w += step * *z;
  *z = decay * *z + gradient;
}

static void learn_lower(int n, int d, real step, real decay) {
  real **low = v[LOWER], **up = v[UPPER], **u = coupling, *rows = effect, to_e, to_f;
  for (int i = 0; i < n; i++) {
    real *w1 = m[UPPER][W1] + (size_t)i * n, *w2 = m[UPPER][W2] + (size_t)i * n;
    real slope1 = 1 - low[Y1][i] * low[Y1][i], slope2 = 1 - low[Y2][i] * low[Y2][i];
    couple(n, slope1, slope2, up[SCALE], w1, w1 + (size_t)n * n, w2, w2 + (size_t)n * n, u[0], u[1], u[2], u[3]);
    for (int j = -1; j < d; j++, rows += 4 * n) { /* j = -1: the two parameters of the eigenvalue */
      size_t at = (size_t)j * n + i;
      const real units[4] = {low[A1][i], low[A2][i], low[B1][i], low[B2][i]};
      const real weights[4] = {j < 0 ? 0 : m[LOWER][E1][at], j < 0 ? 0 : m[LOWER][E2][at], j < 0 ? 0 : -m[LOWER][E2][at],
                               j < 0 ? 0 : m[LOWER][E1][at]};
      carry(n, up[G], up[P], up[D1], up[D2], u[0], u[1], u[2], u[3], rows, rows + n, rows + 2 * n, rows + 3 * n,
            j < 0 ? units : weights, &to_e, &to_f);
      if (j < 0) {
        follow(step, decay, to_e, low[NU_LOG] + i, low[ZA] + i);
        follow(step, decay, to_f, low[THETA_LOG] + i, low[ZB] + i);
      } else {
        follow(step, decay, to_e, m[LOWER][W1] + at, m[LOWER][T1] + at);
        follow(step, decay, to_f, m[LOWER][W2] + at, m[LOWER][T2] + at);
      }
    }
  }
}

static void make(int n, int d) {
  for (int layer = 0; layer < LAYERS; layer++) {
    int inputs = layer == LOWER ? d : 2 * n;
    for (int k = 0; k < VECTORS; k++) v[layer][k] = zeros(n, k);
    for (int k = 0; k < MATRICES; k++) m[layer][k] = zeros((size_t)n * inputs, 5 * k);
    for (int i = 0; i < n; i++)
      v[layer][NU_LOG][i] = log(-.5 * log(.99 * uniform())), v[layer][THETA_LOG][i] = log(6.28 * uniform());
    for (size_t k = 0; k < (size_t)n * inputs; k++)
      m[layer][W1][k] = (2 * uniform() - 1) / sqrt(inputs), m[layer][W2][k] = (2 * uniform() - 1) / sqrt(inputs);
  }
  for (int k = 0; k < 4; k++) coupling[k] = zeros(n, 7 * k);
  effect = zeros((size_t)4 * n * (1 + d) * n, 0), between = zeros(2 * n, 3);
}

static void read_parameters(FILE *file, int n, int d) {
  for (int layer = 0; layer < LAYERS; layer++) {
    int inputs = layer == LOWER ? d : 2 * n;
    fill(file, v[layer][NU_LOG], n), fill(file, v[layer][THETA_LOG], n);
    fill(file, m[layer][W1], (size_t)n * inputs), fill(file, m[layer][W2], (size_t)n * inputs);
  }
}

static void step_layer(int n, int inputs, real **l, real **w, const real *restrict x, array y1, array y2) {
  units(n, l[NU_LOG], l[THETA_LOG], l[G], l[P], l[SCALE], l[SLOPE], l[NU], l[THETA]);
  drive(n, inputs, w[W1], w[W2], x, l[DRIVE1], l[DRIVE2]);
  move(n, l[G], l[P], l[SCALE], l[SLOPE], l[NU], l[THETA], l[DRIVE1], l[DRIVE2], l[C1], l[C2], l[A1], l[A2], l[B1], l[B2]);
  features(n, l[C1], l[C2], y1, y2);
}

static void advance(int n, int d, const real *restrict x, real **y) {
  step_layer(n, d, v[LOWER], m[LOWER], x, v[LOWER][Y1], v[LOWER][Y2]);
  memcpy(between, v[LOWER][Y1], n * sizeof(real));
  memcpy(between + n, v[LOWER][Y2], n * sizeof(real));
  step_layer(n, 2 * n, v[UPPER], m[UPPER], between, y[0], y[1]);
}

static void learn(int n, int d, real step, real decay, const real *restrict x, real **y, real **dv_dy) {
  real **low = v[LOWER], **up = v[UPPER];
  for (int k = 0; k < n; k++) {
    up[D1][k] = dv_dy[0][k] * (1 - y[0][k] * y[0][k]);
    up[D2][k] = dv_dy[1][k] * (1 - y[1][k] * y[1][k]);
  }
  turn_weights(n, d, x, low[G], low[P], low[SCALE], m[LOWER][E1], m[LOWER][E2]);
  learn_lower(n, d, step, decay);
  learn_units(n, step, decay, up[NU_LOG], up[ZA], up[A1], up[A2], up[D1], up[D2]);
  learn_units(n, step, decay, up[THETA_LOG], up[ZB], up[B1], up[B2], up[D1], up[D2]);
  learn_weights(n, 2 * n, step, decay, between, up[G], up[P], up[SCALE], up[D1], up[D2], m[UPPER][W1], m[UPPER][W2],
                m[UPPER][E1], m[UPPER][E2], m[UPPER][T1], m[UPPER][T2]);
}
