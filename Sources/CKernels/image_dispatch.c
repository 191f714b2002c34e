// Hands each call of CKernelsImages.h to the instruction set in use.
#include "dispatch.h"

#define MOMENTS float *mean, float *deviation, const float *x, size_t pixels, size_t channels, size_t groups, float *scratch
#define SCALED const float *x, const float *scale, const float *shift, size_t pixels, size_t channels

#define DECLARE(level)                                        \
  void ck_group_moments_##level(MOMENTS);                     \
  void ck_scale_shift_##level(float *out, SCALED);            \
  void ck_scale_shift_silu_##level(float *out, SCALED);       \
  void ck_scale_shift_bf16_##level(uint16_t *out, SCALED);    \
  void ck_scale_shift_silu_bf16_##level(uint16_t *out, SCALED); \
  void ck_round_bf16_##level(uint16_t *out, const float *x, size_t count);

LEVELS(DECLARE)

void ck_group_moments(MOMENTS) { DISPATCH(ck_group_moments, mean, deviation, x, pixels, channels, groups, scratch) }
void ck_scale_shift(float *out, SCALED) { DISPATCH(ck_scale_shift, out, x, scale, shift, pixels, channels) }
void ck_scale_shift_silu(float *out, SCALED) { DISPATCH(ck_scale_shift_silu, out, x, scale, shift, pixels, channels) }
void ck_scale_shift_bf16(uint16_t *out, SCALED) { DISPATCH(ck_scale_shift_bf16, out, x, scale, shift, pixels, channels) }
void ck_scale_shift_silu_bf16(uint16_t *out, SCALED) { DISPATCH(ck_scale_shift_silu_bf16, out, x, scale, shift, pixels, channels) }
void ck_round_bf16(uint16_t *out, const float *x, size_t count) { DISPATCH(ck_round_bf16, out, x, count) }
