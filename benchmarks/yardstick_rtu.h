/* What the yardsticks of linear recurrent trace units share: derivations (3)-(7), (9)-(15). */
#include "yardstick.h"

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
