// The loops no library has: normalisation, activation, epilogues, softmax, the optimiser and the noise generator.
//
// Matrices are row-major float32; `rows` rows of `n` values follow each other without gaps unless a leading dimension
// (`ld...`) is given. A name ending in `_backward` adds into the gradients it documents as "+=" and overwrites the rest.
// Every loop exists for four instruction sets, compiled from one source; the best one the processor has is chosen at
// first use and `ck_set_level` picks another for tests.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "CKernelsImages.h"
#include "CKernelsSparse.h"
#include "CKernelsTiles.h"

typedef enum { CK_SCALAR = 0, CK_AVX2 = 1, CK_AVX512 = 2, CK_AVX512_BF16 = 3 } ck_level;

/// The best level of this processor.
ck_level ck_best_level(void);
/// The level in use.
ck_level ck_current_level(void);
/// Uses another level from here on; answers the level really set, never above the processor's. Not for use while kernels run.
ck_level ck_set_level(ck_level level);

typedef enum { CK_FACTORS_F32, CK_FACTORS_BF16, CK_FACTORS_INT8 } ck_factors;

/// Multiplies and adds on registers alone with the widest instructions for such factors, to be timed.
/// - returns: additions and multiplications done; 0 where the processor has no instructions for them.
uint64_t ck_register_operations(ck_factors factors, size_t rounds);
/// Reads bytes, to be timed.
void ck_read(const void *bytes, size_t count);

/// Processors this process may run on, at least 1.
int ck_processor_count(void);

/// Tells the processor that a loop waits for another thread.
static inline void ck_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Normalisation ---------------------------------------------------------------------------------------------------

/// out = (x - mean) * rstd * scale + shift, per row; keeps mean and rstd (both may be null). scale, shift: [n].
void ck_norm_modulate(float *out, const float *x, const float *scale, const float *shift, float *mean, float *rstd, size_t rows,
                      size_t n, float eps);
/// With dout: dx += through the norm, dscale[n] += sum dout * normalised, dshift[n] += sum dout.
void ck_norm_modulate_backward(float *dx, float *dscale, float *dshift, const float *dout, const float *x, const float *mean,
                               const float *rstd, const float *scale, size_t rows, size_t n);
/// scale = w * (1 + s), shift = c * (1 + s) + b: the affine norm and the adaLN modulation as one pair of vectors.
void ck_fold_modulation(float *scale, float *shift, const float *w, const float *c, const float *s, const float *b, size_t n);
/// With dscale and dshift of the folded pair: dw += , dc += , ds = , db = .
void ck_fold_modulation_backward(float *dw, float *dc, float *ds, float *db, const float *dscale, const float *dshift, const float *w,
                                 const float *c, const float *s, size_t n);

// Epilogues -------------------------------------------------------------------------------------------------------

/// x += bias.
void ck_add_bias(float *x, const float *bias, size_t rows, size_t n);
/// z += bias; y = gamma * z. y may be z.
void ck_bias_gamma(float *y, float *z, const float *bias, const float *gamma, size_t rows, size_t n);
/// out = x * scale, per row.
void ck_scale_columns(float *out, const float *x, const float *scale, size_t rows, size_t n);
/// dgamma[n] += sum dy * z; dz = dy * gamma. dz may be dy.
void ck_gamma_backward(float *dz, float *dgamma, const float *dy, const float *z, const float *gamma, size_t rows, size_t n);
/// z += bias; out = x + gate * z.
void ck_residual(float *out, const float *x, float *z, const float *bias, const float *gate, size_t rows, size_t n);
/// dz = dout * gate; dgate[n] += sum dout * z.
void ck_residual_backward(float *dz, float *dgate, const float *dout, const float *z, const float *gate, size_t rows, size_t n);
/// h += bias; out = gelu(h), the tanh form.
void ck_bias_gelu(float *out, float *h, const float *bias, size_t rows, size_t n);
/// dh = dout * gelu'(h). dh may be dout.
void ck_gelu_backward(float *dh, const float *dout, const float *h, size_t count);
/// out = gelu(h).
void ck_gelu(float *out, const float *h, size_t count);
/// out = x * sigmoid(x).
void ck_silu(float *out, const float *x, size_t count);
/// dx = dout * silu'(x).
void ck_silu_backward(float *dx, const float *dout, const float *x, size_t count);
/// sum[n] += the column sums of x.
void ck_column_sum(float *sum, const float *x, size_t rows, size_t n);
/// out = a * b, out += a * b, y += alpha * x.
void ck_multiply(float *out, const float *a, const float *b, size_t count);
void ck_multiply_add(float *out, const float *a, const float *b, size_t count);
void ck_axpy(float *y, const float *x, float alpha, size_t count);
/// y = y + the sum of weights[k] (x[k] - y), in double precision with each operation rounded, source by source: the same bits at
/// every level.
void ck_add_differences(float *y, const float *const *x, const double *weights, size_t sources, size_t count);

// Attention -------------------------------------------------------------------------------------------------------

/// x = softmax(alpha * x), per row, in place.
void ck_softmax(float *x, float alpha, size_t rows, size_t n);
/// dp becomes the gradient of the scores before alpha: alpha * p * (dp - sum dp * p).
void ck_softmax_backward(float *dp, const float *p, float alpha, size_t rows, size_t n);

/// Attention of one head on bfloat16 values: out[tokens, head] = softmax(scale q k^T) v, sums and exponentials in float32.
/// q, k, v have rows `stride` values apart; out rows are `out_stride` apart. head is at most 256.
void ck_attention_bf16(uint16_t *out, size_t out_stride, const uint16_t *q, const uint16_t *k, const uint16_t *v, size_t stride,
                       size_t tokens, size_t head, float scale, void *scratch);
/// Bytes of `scratch`, 64-byte aligned.
size_t ck_attention_scratch(size_t tokens, size_t head);

// Linear layer for few rows ---------------------------------------------------------------------------------------

/// out[r, j] = sum_k x[r, k] w[j, k]. A row's bytes do not depend on the other rows.
void ck_linear_rows(float *out, const float *x, const float *w, size_t rows, size_t in, size_t out_features);

// Optimiser -------------------------------------------------------------------------------------------------------

typedef struct {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float correction1, correction2;  // 1 - beta^step
  float gradient_scale;            // applied to the gradient first: clipping, averaging
} ck_adamw_settings;

/// One decoupled AdamW update of `count` values.
void ck_adamw(float *p, float *m, float *v, const float *g, size_t count, const ck_adamw_settings *settings);
/// ema = decay * ema + (1 - decay) * p.
void ck_ema(float *ema, const float *p, float decay, float one_minus_decay, size_t count);
/// Sum of squares, in a fixed order.
double ck_sum_of_squares(const float *x, size_t count);

// Packed products ------------------------------------------------------------------------------------------------------
//
// A packed product leaves its accumulators behind; an epilogue takes them once, adds the bias and writes what the next layer reads.
// bfloat16 values are the upper halves of float32 ones (uint16_t), rounded to nearest even.

/// The accumulators [rows, n] of a product: float32 where row_scale is null; else int32 accumulators of u8 rows (x = row_scale (u - row_zero_point))
/// times s8 columns (w = column_scale s), column_sum being the sum of a column's s.
typedef struct {
  const void *values;
  size_t stride;
  const float *row_scale;
  const int32_t *row_zero_point;
  const float *column_scale;
  const int32_t *column_sum;
} ck_accumulators;

/// Ranks of a low-rank pair at most that are taken at once.
enum { CK_LOW_RANK = 64 };
/// out = accumulators + scale low b^T, summed rank by rank; out may be the accumulators' own memory. low: [rows, rank]; rows of b, [n, rank],
/// are `b_stride` values apart. A row's bytes do not depend on the other rows.
void ck_accumulators_add_low_rank(float *out, size_t stride, const ck_accumulators *accumulators, const float *low, size_t rank, const float *b,
                                  size_t b_stride, float scale, size_t rows, size_t n);
/// out = gamma (accumulators + bias), rows of out `stride` values apart.
void ck_accumulators_gamma(float *out, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gamma, size_t rows, size_t n);
void ck_accumulators_gamma_bf16(uint16_t *out, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gamma, size_t rows, size_t n);
/// out = gelu(accumulators + bias), the tanh form.
void ck_accumulators_gelu(float *out, size_t stride, const ck_accumulators *accumulators, const float *bias, size_t rows, size_t n);
void ck_accumulators_gelu_bf16(uint16_t *out, size_t stride, const ck_accumulators *accumulators, const float *bias, size_t rows, size_t n);
/// x += gate (accumulators + bias).
void ck_accumulators_residual(float *x, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gate, size_t rows, size_t n);

/// ck_norm_modulate to bfloat16, and to u8 with a scale and a zero point per row; `line` is scratch of n values.
void ck_norm_modulate_bf16(uint16_t *out, const float *x, const float *scale, const float *shift, size_t rows, size_t n, float eps);
void ck_norm_modulate_u8(uint8_t *out, float *row_scale, int32_t *row_zero_point, const float *x, const float *scale, const float *shift,
                         size_t rows, size_t n, float eps, float *line);
/// u8 = x / row_scale + row_zero_point per row, the row's range and 0 spread over 0 ... 255; `line` is scratch of n values.
void ck_quantise_rows(uint8_t *out, float *row_scale, int32_t *row_zero_point, const uint16_t *x, size_t rows, size_t n, float *line);
/// s8 = w / step per row of w, -127 ... 127, and the sum of each row's integers.
void ck_quantise_weights(int8_t *out, float *scales, int32_t *sums, const float *w, size_t rows, size_t n);

// Conversion and noise ----------------------------------------------------------------------------------------------

void ck_bf16_to_f32(float *out, const uint16_t *x, size_t count);

/// Four words of Philox 4x32-10 for one counter and key.
void ck_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);
/// Standard normals number first ..< first + count of the stream (key, stream): any part can be drawn alone.
void ck_normals(float *out, uint64_t key, uint64_t stream, uint64_t first, size_t count);
/// Uniforms in [0, 1), same numbering.
void ck_uniforms(float *out, uint64_t key, uint64_t stream, uint64_t first, size_t count);

#endif
