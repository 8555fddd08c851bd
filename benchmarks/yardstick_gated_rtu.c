/* How fast one learning step can be on this machine, in C: gated RTU, exact RTRL, TD(lambda) with accumulating traces,
 * tanh in the recurrence, linear readout, SGD. The same equations as rtu_np (docs/derivations.md (9)-(20), (86), (87)) in
 * two passes over the weights, unit index innermost, with all that a C compiler may do to the arithmetic.
 * yardstick.h says how to call it; its FILE begins with nu_log, theta_log, W1, W2, W_g, b_g.
 */
#define FEATURES 2
#include "yardstick.h"

enum { NU_LOG, THETA_LOG, B_G, RATE, ANGLE, C1, C2, GATE, SHUT, G, P, SCALE, SLOPE, DRIVE1, DRIVE2, Z1, Z2, F1, F2, G1, P1,
       SCALE1, G2, P2, SCALE2, BY1, BY2, A1, A2, B1, B2, O1, O2, ZA, ZB, ZO, VECTORS };
enum { W1, W2, W_G, E11, E12, E21, E22, EG1, EG2, T1, T2, TG, MATRICES };
static real *v[VECTORS], *m[MATRICES];

static void drive_three(int n, int d, array w1, array w2, array w3, const real *restrict x, array a, array b, array c) {
  for (int i = 0; i < n; i++) a[i] = b[i] = c[i] = 0;
  for (int j = 0; j < d; j++, w1 += n, w2 += n, w3 += n)
    for (int i = 0; i < n; i++) {
      a[i] += w1[i] * x[j];
      b[i] += w2[i] * x[j];
      c[i] += w3[i] * x[j];
    }
}

static void units(int n, array a, array b, array gate, array b_g, array shut, array g, array p, array scale, array slope,
                  array rate, array angle) {
  /* One function a loop: gcc would make a scalar sincos of the two, and scalar calls of what stands beside it. */
  for (int i = 0; i < n; i++) gate[i] = 1 / (1 + exp(-(gate[i] + b_g[i])));
  for (int i = 0; i < n; i++) rate[i] = exp(a[i]) * gate[i];
  for (int i = 0; i < n; i++) angle[i] = exp(b[i]) * gate[i];
  for (int i = 0; i < n; i++) slope[i] = exp(-rate[i]);
  for (int i = 0; i < n; i++) g[i] = slope[i] * cos(angle[i]);
  for (int i = 0; i < n; i++) p[i] = slope[i] * sin(angle[i]);
  for (int i = 0; i < n; i++) {
    real r = slope[i];
    shut[i] = 1 - gate[i];
    scale[i] = sqrt((1 - r) * (1 + r)); /* expm1 would be exact, and does not vectorise in C */
    slope[i] = rate[i] * r * r / scale[i];
  }
}

static void activate(int n, array g, array p, array scale, array drive1, array drive2, array c1, array c2, array z1, array z2,
                     array y1, array y2, array f1, array f2) {
  for (int i = 0; i < n; i++) {
    z1[i] = g[i] * c1[i] - p[i] * c2[i];
    z2[i] = g[i] * c2[i] + p[i] * c1[i];
  }
  for (int i = 0; i < n; i++) c1[i] = y1[i] = tanh(z1[i] + scale[i] * drive1[i]);
  for (int i = 0; i < n; i++) c2[i] = y2[i] = tanh(z2[i] + scale[i] * drive2[i]);
  for (int i = 0; i < n; i++) f1[i] = 1 - c1[i] * c1[i], f2[i] = 1 - c2[i] * c2[i];
}

static void pair(int n, array g1, array p1, array g2, array p2, array e1, array e2, array s1, array s2) {
  /* e <- the turned pair times the slopes, plus a share that has them already */
  for (int i = 0; i < n; i++) {
    real old = e1[i];
    e1[i] = g1[i] * old - p1[i] * e2[i] + s1[i];
    e2[i] = g2[i] * e2[i] + p2[i] * old + s2[i];
  }
}

static void shares(int n, array g, array p, array scale, array slope, array rate, array angle, array shut, array drive1,
                   array drive2, array z1, array z2, array f1, array f2, array g1, array p1, array scale1, array g2, array p2,
                   array scale2, array by1, array by2) {
  /* drive1, drive2 <- the shares of nu_log; z1, z2 <- those of theta_log; by1, by2 <- those of the gate */
  for (int i = 0; i < n; i++) {
    real turned1 = z1[i], turned2 = z2[i];
    drive1[i] = f1[i] * (slope[i] * drive1[i] - rate[i] * turned1);
    drive2[i] = f2[i] * (slope[i] * drive2[i] - rate[i] * turned2);
    z1[i] = -f1[i] * angle[i] * turned2;
    z2[i] = f2[i] * angle[i] * turned1;
    by1[i] = shut[i] * (drive1[i] + z1[i]);
    by2[i] = shut[i] * (drive2[i] + z2[i]);
  }
  for (int i = 0; i < n; i++) {
    g1[i] = f1[i] * g[i], p1[i] = f1[i] * p[i], scale1[i] = f1[i] * scale[i];
    g2[i] = f2[i] * g[i], p2[i] = f2[i] * p[i], scale2[i] = f2[i] * scale[i];
  }
}

static void learn_units(int n, real step, real decay, array w, array z, array e1, array e2, array d1, array d2) {
  for (int i = 0; i < n; i++) {
    w[i] += step * z[i];
    z[i] = decay * z[i] + d1[i] * e1[i] + d2[i] * e2[i];
  }
}

/* One weight: its sensitivities, its update, its trace. s1 and s2 are what the input x[j] adds. */
#define LEARN_WEIGHTS(name, ADD1, ADD2)                                                                                    \
  static void name(int n, int d, real step, real decay, const real *restrict x, array g1, array p1, array g2, array p2,    \
                   array s1, array s2, array d1, array d2, array w, array e1, array e2, array t) {                         \
    for (int j = 0; j < d; j++, w += n, e1 += n, e2 += n, t += n)                                                          \
      for (int i = 0; i < n; i++) {                                                                                        \
        real one = g1[i] * e1[i] - p1[i] * e2[i] ADD1, two = g2[i] * e2[i] + p2[i] * e1[i] ADD2;                           \
        e1[i] = one;                                                                                                       \
        e2[i] = two;                                                                                                       \
        w[i] += step * t[i];                                                                                               \
        t[i] = decay * t[i] + d1[i] * one + d2[i] * two;                                                                   \
      }                                                                                                                    \
  }
LEARN_WEIGHTS(learn_first, +s1[i] * x[j], )
LEARN_WEIGHTS(learn_second, , +s2[i] * x[j])
LEARN_WEIGHTS(learn_both, +s1[i] * x[j], +s2[i] * x[j])

static void make(int n, int d) {
  for (int k = 0; k < VECTORS; k++) v[k] = zeros(n, k);
  for (int k = 0; k < MATRICES; k++) m[k] = zeros((size_t)n * d, 5 * k);
  for (int i = 0; i < n; i++) v[NU_LOG][i] = log(-.5 * log(.99 * uniform())), v[THETA_LOG][i] = log(6.28 * uniform()), v[B_G][i] = 2;
  for (int k = 0; k < 3; k++)
    for (size_t i = 0; i < (size_t)n * d; i++) m[(int[]){W1, W2, W_G}[k]][i] = (2 * uniform() - 1) / sqrt(d);
}

static void read_parameters(FILE *file, int n, int d) {
  fill(file, v[NU_LOG], n), fill(file, v[THETA_LOG], n);
  fill(file, m[W1], (size_t)n * d), fill(file, m[W2], (size_t)n * d), fill(file, m[W_G], (size_t)n * d), fill(file, v[B_G], n);
}

static void advance(int n, int d, const real *restrict x, real **y) {
  drive_three(n, d, m[W1], m[W2], m[W_G], x, v[DRIVE1], v[DRIVE2], v[GATE]);
  units(n, v[NU_LOG], v[THETA_LOG], v[GATE], v[B_G], v[SHUT], v[G], v[P], v[SCALE], v[SLOPE], v[RATE], v[ANGLE]);
  activate(n, v[G], v[P], v[SCALE], v[DRIVE1], v[DRIVE2], v[C1], v[C2], v[Z1], v[Z2], y[0], y[1], v[F1], v[F2]);
  shares(n, v[G], v[P], v[SCALE], v[SLOPE], v[RATE], v[ANGLE], v[SHUT], v[DRIVE1], v[DRIVE2], v[Z1], v[Z2], v[F1], v[F2],
         v[G1], v[P1], v[SCALE1], v[G2], v[P2], v[SCALE2], v[BY1], v[BY2]);
  pair(n, v[G1], v[P1], v[G2], v[P2], v[A1], v[A2], v[DRIVE1], v[DRIVE2]);
  pair(n, v[G1], v[P1], v[G2], v[P2], v[B1], v[B2], v[Z1], v[Z2]);
  pair(n, v[G1], v[P1], v[G2], v[P2], v[O1], v[O2], v[BY1], v[BY2]);
}

static void learn(int n, int d, real step, real decay, const real *restrict x, real **y, real **dv_dy) {
  learn_units(n, step, decay, v[NU_LOG], v[ZA], v[A1], v[A2], dv_dy[0], dv_dy[1]);
  learn_units(n, step, decay, v[THETA_LOG], v[ZB], v[B1], v[B2], dv_dy[0], dv_dy[1]);
  learn_units(n, step, decay, v[B_G], v[ZO], v[O1], v[O2], dv_dy[0], dv_dy[1]);
  learn_first(n, d, step, decay, x, v[G1], v[P1], v[G2], v[P2], v[SCALE1], v[SCALE2], dv_dy[0], dv_dy[1], m[W1], m[E11], m[E12], m[T1]);
  learn_second(n, d, step, decay, x, v[G1], v[P1], v[G2], v[P2], v[SCALE1], v[SCALE2], dv_dy[0], dv_dy[1], m[W2], m[E21], m[E22], m[T2]);
  learn_both(n, d, step, decay, x, v[G1], v[P1], v[G2], v[P2], v[BY1], v[BY2], dv_dy[0], dv_dy[1], m[W_G], m[EG1], m[EG2], m[TG]);
}
