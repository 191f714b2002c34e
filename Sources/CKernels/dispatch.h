// How a call finds the loop for the instruction set in use.
#ifndef DISPATCH_H
#define DISPATCH_H

#include "CKernels.h"

#if defined(__x86_64__)
#define LEVELS(F) F(scalar) F(avx2) F(avx512) F(avx512_bf16)
#else
#define LEVELS(F) F(scalar)
#endif

#if defined(__x86_64__)
#define DISPATCH(name, ...)               \
  switch (ck_current_level()) {           \
    case CK_AVX512_BF16:                  \
      return name##_avx512_bf16(__VA_ARGS__);\
    case CK_AVX512:                       \
      return name##_avx512(__VA_ARGS__);  \
    case CK_AVX2:                         \
      return name##_avx2(__VA_ARGS__);    \
    default:                              \
      return name##_scalar(__VA_ARGS__);  \
  }
#else
#define DISPATCH(name, ...) return name##_scalar(__VA_ARGS__);
#endif

#endif
