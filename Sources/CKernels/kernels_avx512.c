#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#define LEVEL avx512
#include "kernels.inc"
#include "packed.inc"
#include "image.inc"
#include "tiles_plain.inc"
#include "tiles_layout.inc"
#pragma clang attribute pop
#endif
