#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define LEVEL avx2
#include "kernels.inc"
#include "packed.inc"
#include "image.inc"
#include "tiles_plain.inc"
#include "tiles_layout.inc"
#pragma clang attribute pop
#endif
