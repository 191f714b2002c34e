#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), apply_to = function)
#define LEVEL avx512_bf16
#define NATIVE_BF16
#include "kernels.inc"
#include "packed.inc"
#include "image.inc"
#include "tiles_plain.inc"
#include "attention_bf16.inc"
#include "tiles_layout.inc"
#pragma clang attribute pop
#endif
