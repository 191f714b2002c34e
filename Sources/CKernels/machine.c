// What the processor can do at most: multiply-adds whose operands stay in registers, and reads. What a product or a network call reaches is
// shown as a share of it.
#include "CKernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CHAINS = 12 };

// Twelve independent chains hide the latency of two units; the compiler may neither join nor drop them.
#define REGISTER_LOOP(type, zero, step, operations, registers) \
  type sums[CHAINS];                                           \
  for (int i = 0; i < CHAINS; i++) sums[i] = zero;             \
  for (size_t round = 0; round < rounds; round++)              \
    for (int i = 0; i < CHAINS; i++) {                         \
      sums[i] = step;                                          \
      __asm__ volatile("" : registers(sums[i]));               \
    }                                                          \
  return (uint64_t)rounds * CHAINS * (operations);

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void read_avx2(const char *bytes, size_t count) {
  for (size_t i = 0; i + 128 <= count; i += 128)
    __asm__ volatile("" : : "x"(_mm256_loadu_ps((const float *)(bytes + i))), "x"(_mm256_loadu_ps((const float *)(bytes + i + 32))),
                     "x"(_mm256_loadu_ps((const float *)(bytes + i + 64))), "x"(_mm256_loadu_ps((const float *)(bytes + i + 96))));
}
__attribute__((target("avx2,fma"))) static uint64_t f32_avx2(size_t rounds) {
  __m256 a = _mm256_set1_ps(1e-3f);
  REGISTER_LOOP(__m256, _mm256_setzero_ps(), _mm256_fmadd_ps(a, a, sums[i]), 16, "+x")
}

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16"))), apply_to = function)
static void read_avx512(const char *bytes, size_t count) {
  for (size_t i = 0; i + 256 <= count; i += 256)
    __asm__ volatile("" : : "v"(_mm512_loadu_ps(bytes + i)), "v"(_mm512_loadu_ps(bytes + i + 64)), "v"(_mm512_loadu_ps(bytes + i + 128)),
                     "v"(_mm512_loadu_ps(bytes + i + 192)));
}
static uint64_t f32_avx512(size_t rounds) {
  __m512 a = _mm512_set1_ps(1e-3f);
  REGISTER_LOOP(__m512, _mm512_setzero_ps(), _mm512_fmadd_ps(a, a, sums[i]), 32, "+v")
}
static uint64_t bf16_avx512(size_t rounds) {
  __m512bh a = (__m512bh)_mm512_set1_epi16(0x3a83);
  REGISTER_LOOP(__m512, _mm512_setzero_ps(), _mm512_dpbf16_ps(sums[i], a, a), 64, "+v")
}
static uint64_t int8_avx512(size_t rounds) {
  __m512i a = _mm512_set1_epi8(1);
  REGISTER_LOOP(__m512i, _mm512_setzero_si512(), _mm512_dpbusd_epi32(sums[i], a, a), 128, "+v")
}
#pragma clang attribute pop

uint64_t ck_tile_register_operations(ck_factors factors, size_t rounds);
#endif

uint64_t ck_register_operations(ck_factors factors, size_t rounds) {
#if defined(__x86_64__)
  if (factors != CK_FACTORS_F32 && ck_tiles() == CK_TILES_GRANTED) return ck_tile_register_operations(factors, rounds);
  ck_level level = ck_best_level();
  switch (factors) {
    case CK_FACTORS_F32: return level >= CK_AVX512 ? f32_avx512(rounds) : level == CK_AVX2 ? f32_avx2(rounds) : 0;
    case CK_FACTORS_BF16: return level >= CK_AVX512_BF16 ? bf16_avx512(rounds) : 0;
    case CK_FACTORS_INT8: return level >= CK_AVX512 && __builtin_cpu_supports("avx512vnni") ? int8_avx512(rounds) : 0;
  }
#endif
  (void)factors, (void)rounds;
  return 0;
}

void ck_read(const void *bytes, size_t count) {
#if defined(__x86_64__)
  if (ck_best_level() >= CK_AVX512) return read_avx512(bytes, count);
  if (ck_best_level() == CK_AVX2) return read_avx2(bytes, count);
#endif
  const volatile uint64_t *words = bytes;
  for (size_t i = 0; i < count / 8; i++) (void)words[i];
}
