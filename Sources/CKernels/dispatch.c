// Chooses the instruction set at first use and hands each call to it.
#define _GNU_SOURCE
#include "CKernels.h"
#include "CKernelsImages.h"

#include <sched.h>
#include <unistd.h>
#include <stdatomic.h>

int ck_processor_count(void) {
  // Room for more processors than a cpu_set_t has.
  cpu_set_t set[16];
  if (sched_getaffinity(0, sizeof set, set) == 0) return CPU_COUNT_S(sizeof set, set);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int)online : 1;
}

static _Atomic int current = -1;

ck_level ck_best_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return __builtin_cpu_supports("avx512bf16") ? CK_AVX512_BF16 : CK_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CK_AVX2;
#endif
  return CK_SCALAR;
}

ck_level ck_set_level(ck_level level) {
  ck_level best = ck_best_level();
  if (level > best) level = best;
  atomic_store_explicit(&current, level, memory_order_relaxed);
  return level;
}

ck_level ck_current_level(void) {
  int level = atomic_load_explicit(&current, memory_order_relaxed);
  return level < 0 ? ck_set_level(CK_AVX512_BF16) : (ck_level)level;
}

#if defined(__x86_64__)
#define KERNEL(type, name, parameters, arguments) \
  type name##_scalar parameters;                  \
  type name##_avx2 parameters;                    \
  type name##_avx512 parameters;                  \
  type name##_avx512_bf16 parameters;             \
  type name parameters {                          \
    switch (ck_current_level()) {                 \
      case CK_AVX512_BF16:                        \
        return name##_avx512_bf16 arguments;      \
      case CK_AVX512:                             \
        return name##_avx512 arguments;           \
      case CK_AVX2:                               \
        return name##_avx2 arguments;             \
      default:                                    \
        return name##_scalar arguments;           \
    }                                             \
  }
#else
#define KERNEL(type, name, parameters, arguments) \
  type name##_scalar parameters;                  \
  type name parameters { return name##_scalar arguments; }
#endif
#include "table.inc"

size_t ck_attention_scratch(size_t tokens, size_t head) {
  size_t keys = (tokens + 15) / 16 * 16, columns = (head + 15) / 16 * 16, queries = 32;
  size_t pairs = 4 * ((head + 1) / 2 * keys + keys / 2 * columns) + (4 + 2) * queries * keys;
  size_t plain = 4 * (2 * tokens * head + tokens + head) + 2 * tokens;
  return pairs > plain ? pairs : plain;
}
