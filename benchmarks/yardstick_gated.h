/* What the yardsticks of minGRU and eLSTM share: the drive of units by two matrices, and learning from sensitivities that
 * decay by one number per unit. They include this file in place of yardstick.h.
 */
#include "yardstick.h"

enum { BLOCK = 32, NEAR = 16384 };

static void drive_in_blocks(int n, int d, array w1, array w2, const real *restrict x, array drive1, array drive2) {
  /* The sums of a block stay in registers. From beyond the first cache, one row after the other comes faster. */
  for (int i = 0; i < n; i += BLOCK) {
    real a[BLOCK] = {0}, b[BLOCK] = {0};
    for (int j = 0; j < d; j++)
      for (int k = 0; k < BLOCK; k++) {
        a[k] += w1[(size_t)j * n + i + k] * x[j];
        b[k] += w2[(size_t)j * n + i + k] * x[j];
      }
    for (int k = 0; k < BLOCK; k++) drive1[i + k] = a[k], drive2[i + k] = b[k];
  }
}

static void drive_well(int n, int d, array w1, array w2, const real *restrict x, array drive1, array drive2) {
  const int blocks = n % BLOCK == 0 && (size_t)n * d * sizeof(real) <= NEAR;
  (blocks ? drive_in_blocks : drive)(n, d, w1, w2, x, drive1, drive2);
}

static void learn_pair(int n, real step, real decay, array w1, array w2, array t1, array t2, array e1, array e2, array dv) {
  for (int i = 0; i < n; i++) {
    w1[i] += step * t1[i];
    w2[i] += step * t2[i];
    t1[i] = decay * t1[i] + dv[i] * e1[i];
    t2[i] = decay * t2[i] + dv[i] * e2[i];
  }
}

static void learn_weights(int n, int d, real step, real decay, const real *restrict x, array keep, array by1, array by2,
                          array dv, array w1, array w2, array e1, array e2, array t1, array t2) {
  for (int j = 0; j < d; j++, w1 += n, w2 += n, e1 += n, e2 += n, t1 += n, t2 += n)
    for (int i = 0; i < n; i++) {
      real s1 = keep[i] * e1[i] + by1[i] * x[j], s2 = keep[i] * e2[i] + by2[i] * x[j];
      e1[i] = s1;
      e2[i] = s2;
      w1[i] += step * t1[i];
      w2[i] += step * t2[i];
      t1[i] = decay * t1[i] + dv[i] * s1;
      t2[i] = decay * t2[i] + dv[i] * s2;
    }
}
