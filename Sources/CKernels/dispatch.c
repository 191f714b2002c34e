// Chooses the instruction set at first use and hands each call to it.
#define _GNU_SOURCE
#include "dispatch.h"

#include <sched.h>
#include <unistd.h>
#include <stdatomic.h>

#define DECLARE(level) \
  void ck_norm_modulate_##level(float *out, const float *x, const float *scale, const float *shift, float *mean, float *rstd, size_t rows, size_t n, float eps); \
  void ck_norm_modulate_backward_##level(float *dx, float *dscale, float *dshift, const float *dout, const float *x, const float *mean, const float *rstd, const float *scale, size_t rows, size_t n); \
  void ck_fold_modulation_##level(float *scale, float *shift, const float *w, const float *c, const float *s, const float *b, size_t n); \
  void ck_fold_modulation_backward_##level(float *dw, float *dc, float *ds, float *db, const float *dscale, const float *dshift, const float *w, const float *c, const float *s, size_t n); \
  void ck_add_bias_##level(float *x, const float *bias, size_t rows, size_t n); \
  void ck_bias_gamma_##level(float *y, float *z, const float *bias, const float *gamma, size_t rows, size_t n); \
  void ck_gamma_backward_##level(float *dz, float *dgamma, const float *dy, const float *z, const float *gamma, size_t rows, size_t n); \
  void ck_residual_##level(float *out, const float *x, float *z, const float *bias, const float *gate, size_t rows, size_t n); \
  void ck_residual_backward_##level(float *dz, float *dgate, const float *dout, const float *z, const float *gate, size_t rows, size_t n); \
  void ck_bias_gelu_##level(float *out, float *h, const float *bias, size_t rows, size_t n); \
  void ck_gelu_backward_##level(float *dh, const float *dout, const float *h, size_t count); \
  void ck_gelu_##level(float *out, const float *h, size_t count); \
  void ck_silu_##level(float *out, const float *x, size_t count); \
  void ck_silu_backward_##level(float *dx, const float *dout, const float *x, size_t count); \
  void ck_column_sum_##level(float *sum, const float *x, size_t rows, size_t n); \
  void ck_multiply_##level(float *out, const float *a, const float *b, size_t count); \
  void ck_multiply_add_##level(float *out, const float *a, const float *b, size_t count); \
  void ck_axpy_##level(float *y, const float *x, float alpha, size_t count); \
  void ck_add_differences_##level(float *y, const float *const *x, const double *weights, size_t sources, size_t count); \
  void ck_scale_columns_##level(float *out, const float *x, const float *scale, size_t rows, size_t n); \
  void ck_softmax_##level(float *x, float alpha, size_t rows, size_t n); \
  void ck_softmax_backward_##level(float *dp, const float *p, float alpha, size_t rows, size_t n); \
  void ck_linear_rows_##level(float *out, const float *x, const float *w, size_t rows, size_t in, size_t out_features); \
  void ck_adamw_##level(float *p, float *m, float *v, const float *g, size_t count, const ck_adamw_settings *settings); \
  void ck_ema_##level(float *ema, const float *p, float decay, float one_minus_decay, size_t count); \
  double ck_sum_of_squares_##level(const float *x, size_t count); \
  void ck_bf16_to_f32_##level(float *out, const uint16_t *x, size_t count);
LEVELS(DECLARE)

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

void ck_norm_modulate(float *out, const float *x, const float *scale, const float *shift, float *mean, float *rstd, size_t rows, size_t n, float eps) { DISPATCH(ck_norm_modulate, out, x, scale, shift, mean, rstd, rows, n, eps) }
void ck_norm_modulate_backward(float *dx, float *dscale, float *dshift, const float *dout, const float *x, const float *mean, const float *rstd, const float *scale, size_t rows, size_t n) { DISPATCH(ck_norm_modulate_backward, dx, dscale, dshift, dout, x, mean, rstd, scale, rows, n) }
void ck_fold_modulation(float *scale, float *shift, const float *w, const float *c, const float *s, const float *b, size_t n) { DISPATCH(ck_fold_modulation, scale, shift, w, c, s, b, n) }
void ck_fold_modulation_backward(float *dw, float *dc, float *ds, float *db, const float *dscale, const float *dshift, const float *w, const float *c, const float *s, size_t n) { DISPATCH(ck_fold_modulation_backward, dw, dc, ds, db, dscale, dshift, w, c, s, n) }
void ck_add_bias(float *x, const float *bias, size_t rows, size_t n) { DISPATCH(ck_add_bias, x, bias, rows, n) }
void ck_bias_gamma(float *y, float *z, const float *bias, const float *gamma, size_t rows, size_t n) { DISPATCH(ck_bias_gamma, y, z, bias, gamma, rows, n) }
void ck_gamma_backward(float *dz, float *dgamma, const float *dy, const float *z, const float *gamma, size_t rows, size_t n) { DISPATCH(ck_gamma_backward, dz, dgamma, dy, z, gamma, rows, n) }
void ck_residual(float *out, const float *x, float *z, const float *bias, const float *gate, size_t rows, size_t n) { DISPATCH(ck_residual, out, x, z, bias, gate, rows, n) }
void ck_residual_backward(float *dz, float *dgate, const float *dout, const float *z, const float *gate, size_t rows, size_t n) { DISPATCH(ck_residual_backward, dz, dgate, dout, z, gate, rows, n) }
void ck_bias_gelu(float *out, float *h, const float *bias, size_t rows, size_t n) { DISPATCH(ck_bias_gelu, out, h, bias, rows, n) }
void ck_gelu_backward(float *dh, const float *dout, const float *h, size_t count) { DISPATCH(ck_gelu_backward, dh, dout, h, count) }
void ck_gelu(float *out, const float *h, size_t count) { DISPATCH(ck_gelu, out, h, count) }
void ck_silu(float *out, const float *x, size_t count) { DISPATCH(ck_silu, out, x, count) }
void ck_silu_backward(float *dx, const float *dout, const float *x, size_t count) { DISPATCH(ck_silu_backward, dx, dout, x, count) }
void ck_column_sum(float *sum, const float *x, size_t rows, size_t n) { DISPATCH(ck_column_sum, sum, x, rows, n) }
void ck_multiply(float *out, const float *a, const float *b, size_t count) { DISPATCH(ck_multiply, out, a, b, count) }
void ck_multiply_add(float *out, const float *a, const float *b, size_t count) { DISPATCH(ck_multiply_add, out, a, b, count) }
void ck_axpy(float *y, const float *x, float alpha, size_t count) { DISPATCH(ck_axpy, y, x, alpha, count) }
void ck_add_differences(float *y, const float *const *x, const double *weights, size_t sources, size_t count) { DISPATCH(ck_add_differences, y, x, weights, sources, count) }
void ck_scale_columns(float *out, const float *x, const float *scale, size_t rows, size_t n) { DISPATCH(ck_scale_columns, out, x, scale, rows, n) }
void ck_softmax(float *x, float alpha, size_t rows, size_t n) { DISPATCH(ck_softmax, x, alpha, rows, n) }
void ck_softmax_backward(float *dp, const float *p, float alpha, size_t rows, size_t n) { DISPATCH(ck_softmax_backward, dp, p, alpha, rows, n) }
void ck_linear_rows(float *out, const float *x, const float *w, size_t rows, size_t in, size_t out_features) { DISPATCH(ck_linear_rows, out, x, w, rows, in, out_features) }
void ck_adamw(float *p, float *m, float *v, const float *g, size_t count, const ck_adamw_settings *settings) { DISPATCH(ck_adamw, p, m, v, g, count, settings) }
void ck_ema(float *ema, const float *p, float decay, float one_minus_decay, size_t count) { DISPATCH(ck_ema, ema, p, decay, one_minus_decay, count) }
double ck_sum_of_squares(const float *x, size_t count) { DISPATCH(ck_sum_of_squares, x, count) }
void ck_bf16_to_f32(float *out, const uint16_t *x, size_t count) { DISPATCH(ck_bf16_to_f32, out, x, count) }
