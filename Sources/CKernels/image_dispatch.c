// Hands each call of CKernelsImages.h to the instruction set in use.
#include "CKernels.h"

#define MOMENTS float *mean, float *deviation, const float *x, size_t pixels, size_t channels, size_t groups, float *scratch
#define SCALED const float *x, const float *scale, const float *shift, size_t pixels, size_t channels

#define DECLARE(level)                                        \
  void ck_group_moments_##level(MOMENTS);                     \
  void ck_scale_shift_##level(float *out, SCALED);            \
  void ck_scale_shift_silu_##level(float *out, SCALED);       \
  void ck_scale_shift_bf16_##level(uint16_t *out, SCALED);    \
  void ck_scale_shift_silu_bf16_##level(uint16_t *out, SCALED); \
  void ck_round_bf16_##level(uint16_t *out, const float *x, size_t count);

DECLARE(scalar)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#define DISPATCH(name, ...)                         \
  switch (ck_current_level()) {                     \
    case CK_AVX512: name##_avx512(__VA_ARGS__); return; \
    case CK_AVX2: name##_avx2(__VA_ARGS__); return;     \
    default: name##_scalar(__VA_ARGS__);            \
  }
#else
#define DISPATCH(name, ...) name##_scalar(__VA_ARGS__);
#endif

void ck_group_moments(MOMENTS) { DISPATCH(ck_group_moments, mean, deviation, x, pixels, channels, groups, scratch) }
void ck_scale_shift(float *out, SCALED) { DISPATCH(ck_scale_shift, out, x, scale, shift, pixels, channels) }
void ck_scale_shift_silu(float *out, SCALED) { DISPATCH(ck_scale_shift_silu, out, x, scale, shift, pixels, channels) }
void ck_scale_shift_bf16(uint16_t *out, SCALED) { DISPATCH(ck_scale_shift_bf16, out, x, scale, shift, pixels, channels) }
void ck_scale_shift_silu_bf16(uint16_t *out, SCALED) { DISPATCH(ck_scale_shift_silu_bf16, out, x, scale, shift, pixels, channels) }
void ck_round_bf16(uint16_t *out, const float *x, size_t count) { DISPATCH(ck_round_bf16, out, x, count) }
