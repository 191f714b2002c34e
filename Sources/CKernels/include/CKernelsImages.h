// Loops over images with channels last: `pixels` pixels of `channels` values follow each other without gaps.
#ifndef CKERNELS_IMAGES_H
#define CKERNELS_IMAGES_H

#include <stddef.h>
#include <stdint.h>

/// Of each group of channels over all pixels: the mean, and the sum of squared distances from it. scratch: [2 channels].
void ck_group_moments(float *mean, float *deviation, const float *x, size_t pixels, size_t channels, size_t groups, float *scratch);

/// out = x * scale + shift per channel, or silu of that; the last three round to bfloat16 (nearest, ties to even).
void ck_scale_shift(float *out, const float *x, const float *scale, const float *shift, size_t pixels, size_t channels);
void ck_scale_shift_silu(float *out, const float *x, const float *scale, const float *shift, size_t pixels, size_t channels);
void ck_scale_shift_bf16(uint16_t *out, const float *x, const float *scale, const float *shift, size_t pixels, size_t channels);
void ck_scale_shift_silu_bf16(uint16_t *out, const float *x, const float *scale, const float *shift, size_t pixels, size_t channels);
void ck_round_bf16(uint16_t *out, const float *x, size_t count);

/// x = max(x, 0); what is not a number stays so.
void ck_relu(float *x, size_t count);

#endif
