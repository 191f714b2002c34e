// Choosing what stays, holding what is not zero, and expanding it again.
#include "CKernels.h"
#include "CKernelsSparse.h"

#include <math.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LINE = 64 };

size_t ck_count_elements(const void *x, size_t lines, size_t element_bytes) {
  size_t count = 0;
  if (element_bytes == 2) {
    const uint16_t *values = x;
    for (size_t i = 0; i < lines * LINE / 2; i++) count += values[i] != 0;
  } else {
    const uint8_t *values = x;
    for (size_t i = 0; i < lines * LINE; i++) count += values[i] != 0;
  }
  return count;
}

void ck_hold_elements(void *bits, void *held, const void *x, size_t lines, size_t element_bytes) {
  uint8_t *bytes = bits;
  if (element_bytes == 2) {
    const uint16_t *values = x;
    uint16_t *out = held;
    for (size_t i = 0; i < lines * LINE / 2; i++) {
      if (i % 8 == 0) bytes[i / 8] = 0;
      if (values[i] == 0) continue;
      bytes[i / 8] |= (uint8_t)(1 << i % 8);
      *out++ = values[i];
    }
  } else {
    const uint8_t *values = x;
    uint8_t *out = held;
    for (size_t i = 0; i < lines * LINE; i++) {
      if (i % 8 == 0) bytes[i / 8] = 0;
      if (values[i] == 0) continue;
      bytes[i / 8] |= (uint8_t)(1 << i % 8);
      *out++ = values[i];
    }
  }
}

static void expand_2_plain(uint16_t *out, const uint32_t *bits, const uint16_t *held, size_t lines) {
  for (size_t line = 0; line < lines; line++)
    for (int i = 0; i < LINE / 2; i++) {
      // Without a branch: half of the bits are set, in no order that could be foreseen.
      uint16_t bit = bits[line] >> i & 1;
      *out++ = *held & (uint16_t)-bit;
      held += bit;
    }
}

static void expand_1_plain(uint8_t *out, const uint64_t *bits, const uint8_t *held, size_t lines) {
  for (size_t line = 0; line < lines; line++)
    for (int i = 0; i < LINE; i++) {
      uint8_t bit = bits[line] >> i & 1;
      *out++ = *held & (uint8_t)-bit;
      held += bit;
    }
}

#if defined(__x86_64__)
// The expansion of a register, since that from memory is slow on some processors: a whole line is read and as much of it used as bits are set.
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt"))), apply_to = function)
static void expand_2_native(uint16_t *out, const uint32_t *bits, const uint16_t *held, size_t lines) {
  for (size_t line = 0; line < lines; line++) {
    _mm512_store_si512(out + line * LINE / 2, _mm512_maskz_expand_epi16(bits[line], _mm512_loadu_si512(held)));
    held += __builtin_popcount(bits[line]);
  }
}

static void expand_1_native(uint8_t *out, const uint64_t *bits, const uint8_t *held, size_t lines) {
  for (size_t line = 0; line < lines; line++) {
    _mm512_store_si512(out + line * LINE, _mm512_maskz_expand_epi8(bits[line], _mm512_loadu_si512(held)));
    held += __builtin_popcountll(bits[line]);
  }
}
#pragma clang attribute pop

// AVX-512 alone does not have it: the first processors with bfloat16 lack it.
int ck_expands_natively(void) {
  __builtin_cpu_init();
  return ck_current_level() >= CK_AVX512 && __builtin_cpu_supports("avx512vbmi2");
}
#else
#define expand_2_native expand_2_plain
#define expand_1_native expand_1_plain
int ck_expands_natively(void) { return 0; }
#endif

void ck_expand_2(uint16_t *out, const uint32_t *bits, const uint16_t *held, size_t lines) {
  (ck_expands_natively() ? expand_2_native : expand_2_plain)(out, bits, held, lines);
}

void ck_expand_1(uint8_t *out, const uint64_t *bits, const uint8_t *held, size_t lines) {
  (ck_expands_natively() ? expand_1_native : expand_1_plain)(out, bits, held, lines);
}

void ck_keep_two_of_four(float *out, const float *w, const float *factors, size_t rows, size_t n) {
  for (size_t row = 0; row < rows; row++, w += n, out += n)
    for (size_t j = 0; j < n; j += 4) {
      float score[4], value[4];
      for (int i = 0; i < 4; i++) {
        value[i] = w[j + i];
        score[i] = fabsf(value[i]) * (factors ? factors[j + i] : 1);
      }
      for (int i = 0; i < 4; i++) {
        // Values that go before this one.
        int before = 0;
        for (int k = 0; k < 4; k++) before += k < i ? score[k] >= score[i] : score[k] > score[i];
        out[j + i] = before < 2 ? value[i] : 0;
      }
    }
}

void ck_pull_dropped(float *g, const float *w, const float *kept, float lambda, size_t count) {
  for (size_t i = 0; i < count; i++) g[i] += lambda * (w[i] - kept[i]);
}
