// Convolutions of images with channels last.
#ifndef CONEDNN_CONVOLUTION_H
#define CONEDNN_CONVOLUTION_H

#include "COneDNN.h"

/// out[rows, columns, out_channels] = x convolved with w[out_channels, in_channels, kernel, kernel], plus bias[out_channels], without
/// padding: x has (rows - 1) stride + kernel rows, and columns likewise, of in_channels values. w is packed beforehand.
typedef struct od_convolution od_convolution;

typedef struct {
  size_t in_channels, out_channels, kernel, stride;
  size_t rows, columns;  // of out
  od_type x;             // f32 or bf16; w has the same type, out and bias are f32
  bool adding;           // out += rather than out =
} od_convolution_shape;

od_convolution *od_convolution_create(od_convolution_shape shape);
void od_convolution_destroy(od_convolution *convolution);
size_t od_convolution_packed_bytes(const od_convolution *convolution);
/// Scratch memory of one run.
size_t od_convolution_scratch_bytes(const od_convolution *convolution);
/// Packs f32 weights. `packed` is 64-byte aligned.
bool od_convolution_pack(const od_convolution *convolution, void *packed, const float *w);
bool od_convolution_run(const od_convolution *convolution, const void *x, const void *packed, const float *bias, float *out, void *scratch);

#endif
