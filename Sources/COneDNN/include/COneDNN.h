// A thin face over oneDNN: what the program needs of it, at one level for versions 2 and 3.
//
// Built without oneDNN the same functions are there and say so: `od_present` is false and nothing can be created.
// Matrices are row-major. Functions that can fail answer false or null, and `od_error` has the sentence. All memory of values
// belongs to the caller. An object may be run by many threads at once; each run stays on its thread.
#ifndef CONEDNN_H
#define CONEDNN_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { OD_F32, OD_BF16, OD_S32, OD_S8, OD_U8 } od_type;

/// Whether this build has oneDNN.
bool od_present(void);
/// "oneDNN 2.6.3", or "no oneDNN".
const char *od_version(void);
/// The instructions that its kernels use here: "AMX tiles", "AVX-512 with bfloat16", ...
const char *od_kernels(void);
/// Whether this processor has instructions of its own for factors of a type: OD_F32, OD_BF16, or OD_U8 (times OD_S8).
bool od_multiplies(od_type type);
/// Why the last call on this thread failed.
const char *od_error(void);

// Products --------------------------------------------------------------------------------------------------------

/// out[rows, n] = x[rows, k] w[n, k]^T for one shape, w packed beforehand.
typedef struct od_product od_product;

typedef struct {
  size_t rows, n, k;
  size_t x_stride, out_stride;  // values from row to row, at least k and n
  od_type x, w, out;            // f32 f32 f32, bf16 bf16 f32, or u8 s8 s32
  bool adding;                  // out += rather than out =
  bool outer;                   // x lies as [k, rows], and w as [k, n] where it is: nothing is packed
} od_product_shape;

/// - like: null, or a product whose packed matrices this one is to read too (same n, k and w, other rows).
od_product *od_product_create(od_product_shape shape, const od_product *like);
void od_product_destroy(od_product *product);
size_t od_product_packed_bytes(const od_product *product);
/// Scratch memory of one run.
size_t od_product_scratch_bytes(const od_product *product);
/// Packs w[n, k], or where `transposed` w^T[k, n], without gaps: values of f32 or bf16 for a product of these, of s8 for one of s8.
/// `packed` is 64-byte aligned.
bool od_product_pack(const od_product *product, void *packed, const void *w, od_type source, bool transposed);
bool od_product_run(const od_product *product, const void *x, const void *packed, void *out, void *scratch);

#include "COneDNNConvolution.h"

#endif
