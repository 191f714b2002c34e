// Matrix products on tiles of 16 rows x 64 bytes: those that a processor with AMX multiplies.
//
// Both factors lie in tiles, each tile 1024 bytes without gaps. Rows of x, [rows, inputs]: a tile holds 64 bytes of the inputs of 16
// rows; the tiles of the same 16 rows follow each other (a block), then those of the next 16. Weights w, [outputs, inputs]: a tile holds
// 64 bytes of the inputs of 16 outputs as 16 rows of 4 bytes of each output; the tiles of the same 16 outputs follow each other, then
// those of the next 16. What rows, outputs and inputs lack to whole tiles is zero in the weights, and in the rows zero or, where whole
// rows lack, anything.
#ifndef CKERNELS_TILES_H
#define CKERNELS_TILES_H

#include <stddef.h>
#include <stdint.h>

enum { CK_TILE_ROWS = 16, CK_TILE_ROW_BYTES = 64, CK_TILE_BYTES = 1024 };

/// Who does the operations on tiles: the processor, or C of the same meaning, on any processor and for tests.
typedef enum { CK_TILES_PLAIN, CK_TILES_AMX } ck_tile_operations;

/// Whether this processor has tiles for bfloat16 and bytes, and whether the system lets this process use them.
typedef enum { CK_TILES_ABSENT, CK_TILES_REFUSED, CK_TILES_GRANTED } ck_tile_access;
/// The first call asks the system.
ck_tile_access ck_tiles(void);

/// Lays weights [outputs, row_bytes] out in tiles, rows `stride` bytes apart; row_bytes are those of the inputs, of any element type.
void ck_tile_weights(void *tiles, const void *w, size_t stride, size_t outputs, size_t row_bytes);
/// The same of bfloat16 weights [inputs, outputs], rows `stride` values apart.
void ck_tile_transposed_weights(void *tiles, const uint16_t *w, size_t stride, size_t inputs, size_t outputs);
/// Puts `rows` pieces of `bytes` bytes, `stride` bytes apart, into rows in tiles: at byte `column` of row `row` and of those after it.
/// `inputs_bytes`: of a row in tiles, a multiple of 64.
void ck_tile_rows(void *tiles, size_t inputs_bytes, size_t row, size_t column, const void *pieces, size_t stride, size_t rows, size_t bytes);

/// The shape of a product in blocks: 16 rows, 16 outputs, and 64 bytes of the inputs.
typedef struct {
  size_t rows, outputs, inputs;
} ck_tile_shape;

/// sums[rows, outputs] = x w^T, rows of sums `stride` values apart, all values of the blocks written: float32 of bfloat16 factors, or
/// int32 of u8 rows and s8 weights. A row's sums depend on nothing but the row: over every 32 inputs, pair by pair from zero, those of even
/// and those of odd number are added up apart, each step one fused multiply-add; the two sums are added, then that to the sum so far.
/// Numbers below float32's normal ones are zeros, before and after each step.
void ck_tile_product_bf16(ck_tile_operations operations, float *sums, size_t stride, const void *x, const void *w, ck_tile_shape shape);
void ck_tile_product_u8(ck_tile_operations operations, int32_t *sums, size_t stride, const void *x, const void *w, ck_tile_shape shape);

/// weights = e^(scale (scores - the row's largest)) of `tokens` keys, as bfloat16 rows in tiles, zero from there to `keys`, a multiple of 32;
/// inverse[rows] = 1 / their sum. scores: [rows, keys].
void ck_softmax_to_tiles(void *tiles, float *inverse, const float *scores, size_t rows, size_t tokens, size_t keys, float scale);
/// out = x * factor, per row; rows of out `out_stride` and of x `stride` values apart.
void ck_scale_rows_bf16(uint16_t *out, size_t out_stride, const float *x, size_t stride, const float *factors, size_t rows, size_t n);
/// As ck_attention_bf16, with both products on tiles: sums in their order.
void ck_attention_tiles(ck_tile_operations operations, uint16_t *out, size_t out_stride, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                        size_t stride, size_t tokens, size_t head, float scale, void *scratch);
/// Bytes of `scratch`, 64-byte aligned.
size_t ck_attention_tiles_scratch(size_t tokens, size_t head);

#endif
