// Philox 4x32-10 (Salmon et al. 2011) and Box-Muller over it: word k of a stream depends on nothing but (key, stream, k).
#include "CKernels.h"

#include <math.h>

void ck_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static void block(uint32_t out[4], uint64_t key, uint64_t stream, uint64_t index) {
  const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
  const uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
  ck_philox(out, counter, k);
}

void ck_uniforms(float *out, uint64_t key, uint64_t stream, uint64_t first, size_t count) {
  uint32_t words[4];
  for (size_t i = 0; i < count; i++) {
    uint64_t at = first + i;
    if (i == 0 || at % 4 == 0) block(words, key, stream, at / 4);
    out[i] = (float)(words[at % 4] >> 8) * 0x1p-24f;
  }
}

void ck_normals(float *out, uint64_t key, uint64_t stream, uint64_t first, size_t count) {
  uint32_t words[4];
  float normals[4];
  for (size_t i = 0; i < count; i++) {
    uint64_t at = first + i;
    if (i == 0 || at % 4 == 0) {
      block(words, key, stream, at / 4);
      for (int pair = 0; pair < 2; pair++) {
        // Half a step above zero keeps the logarithm finite; double arithmetic keeps the tail exact.
        double radius = sqrt(-2.0 * log(((double)words[2 * pair] + 0.5) * 0x1p-32));
        double angle = 6.283185307179586 * ((double)words[2 * pair + 1] * 0x1p-32);
        normals[2 * pair] = (float)(radius * cos(angle));
        normals[2 * pair + 1] = (float)(radius * sin(angle));
      }
    }
    out[i] = normals[at % 4];
  }
}
