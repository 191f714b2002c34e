// Hands the epilogues of packed products, and attention at bfloat16, to the instruction set in use.
#include "dispatch.h"

#define DECLARE(level) \
  void ck_norm_modulate_bf16_##level(uint16_t *out, const float *x, const float *scale, const float *shift, size_t rows, size_t n, float eps); \
  void ck_norm_modulate_u8_##level(uint8_t *out, float *row_scale, int32_t *row_zero_point, const float *x, const float *scale, const float *shift, size_t rows, size_t n, float eps, float *line); \
  void ck_quantise_rows_##level(uint8_t *out, float *row_scale, int32_t *row_zero_point, const uint16_t *x, size_t rows, size_t n, float *line); \
  void ck_quantise_weights_##level(int8_t *out, float *scales, int32_t *sums, const float *w, size_t rows, size_t n); \
  void ck_accumulators_gamma_##level(float *out, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gamma, size_t rows, size_t n); \
  void ck_accumulators_gamma_bf16_##level(uint16_t *out, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gamma, size_t rows, size_t n); \
  void ck_accumulators_gelu_##level(float *out, size_t stride, const ck_accumulators *accumulators, const float *bias, size_t rows, size_t n); \
  void ck_accumulators_gelu_bf16_##level(uint16_t *out, size_t stride, const ck_accumulators *accumulators, const float *bias, size_t rows, size_t n); \
  void ck_accumulators_residual_##level(float *x, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gate, size_t rows, size_t n); \
  void ck_attention_bf16_##level(uint16_t *out, size_t out_stride, const uint16_t *q, const uint16_t *k, const uint16_t *v, size_t stride, size_t tokens, size_t head, float scale, void *scratch);
LEVELS(DECLARE)

void ck_norm_modulate_bf16(uint16_t *out, const float *x, const float *scale, const float *shift, size_t rows, size_t n, float eps) { DISPATCH(ck_norm_modulate_bf16, out, x, scale, shift, rows, n, eps) }
void ck_norm_modulate_u8(uint8_t *out, float *row_scale, int32_t *row_zero_point, const float *x, const float *scale, const float *shift, size_t rows, size_t n, float eps, float *line) { DISPATCH(ck_norm_modulate_u8, out, row_scale, row_zero_point, x, scale, shift, rows, n, eps, line) }
void ck_quantise_rows(uint8_t *out, float *row_scale, int32_t *row_zero_point, const uint16_t *x, size_t rows, size_t n, float *line) { DISPATCH(ck_quantise_rows, out, row_scale, row_zero_point, x, rows, n, line) }
void ck_quantise_weights(int8_t *out, float *scales, int32_t *sums, const float *w, size_t rows, size_t n) { DISPATCH(ck_quantise_weights, out, scales, sums, w, rows, n) }
void ck_accumulators_gamma(float *out, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gamma, size_t rows, size_t n) { DISPATCH(ck_accumulators_gamma, out, stride, accumulators, bias, gamma, rows, n) }
void ck_accumulators_gamma_bf16(uint16_t *out, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gamma, size_t rows, size_t n) { DISPATCH(ck_accumulators_gamma_bf16, out, stride, accumulators, bias, gamma, rows, n) }
void ck_accumulators_gelu(float *out, size_t stride, const ck_accumulators *accumulators, const float *bias, size_t rows, size_t n) { DISPATCH(ck_accumulators_gelu, out, stride, accumulators, bias, rows, n) }
void ck_accumulators_gelu_bf16(uint16_t *out, size_t stride, const ck_accumulators *accumulators, const float *bias, size_t rows, size_t n) { DISPATCH(ck_accumulators_gelu_bf16, out, stride, accumulators, bias, rows, n) }
void ck_accumulators_residual(float *x, size_t stride, const ck_accumulators *accumulators, const float *bias, const float *gate, size_t rows, size_t n) { DISPATCH(ck_accumulators_residual, x, stride, accumulators, bias, gate, rows, n) }
void ck_attention_bf16(uint16_t *out, size_t out_stride, const uint16_t *q, const uint16_t *k, const uint16_t *v, size_t stride, size_t tokens, size_t head, float scale, void *scratch) { DISPATCH(ck_attention_bf16, out, out_stride, q, k, v, stride, tokens, head, scale, scratch) }

size_t ck_attention_scratch(size_t tokens, size_t head) {
  size_t keys = (tokens + 15) / 16 * 16, columns = (head + 15) / 16 * 16, queries = 32;
  size_t pairs = 4 * ((head + 1) / 2 * keys + keys / 2 * columns) + (4 + 2) * queries * keys;
  size_t plain = 4 * (2 * tokens * head + tokens + head);
  return pairs > plain ? pairs : plain;
}
