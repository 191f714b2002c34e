// Attention of one head with its two products on tiles: keys and values are laid out once, then 32 queries at a time go from scores to
// sums without leaving the cache.
#include "CKernels.h"

#include <string.h>

enum { QUERIES = 2 * CK_TILE_ROWS, PAIR_VALUES = CK_TILE_ROW_BYTES / 2 };

// What the head's matrices take, in tiles of their inputs and blocks of 16 outputs, and where in the scratch they begin.
typedef struct {
  size_t features, keys, columns;
  size_t key_tiles, value_tiles, query_tiles, weight_tiles, scores, sums, bytes;
} head_plan;

static head_plan plan_of(size_t tokens, size_t head) {
  head_plan p = {.features = (head + PAIR_VALUES - 1) / PAIR_VALUES, .keys = (tokens + PAIR_VALUES - 1) / PAIR_VALUES, .columns = (head + 15) / 16};
  p.value_tiles = p.key_tiles + 2 * p.keys * p.features * CK_TILE_BYTES;
  p.query_tiles = p.value_tiles + p.columns * p.keys * CK_TILE_BYTES;
  p.weight_tiles = p.query_tiles + 2 * p.features * CK_TILE_BYTES;
  p.scores = p.weight_tiles + 2 * p.keys * CK_TILE_BYTES;
  p.sums = p.scores + QUERIES * p.keys * PAIR_VALUES * sizeof(float);
  p.bytes = p.sums + QUERIES * p.columns * 16 * sizeof(float);
  return p;
}

size_t ck_attention_tiles_scratch(size_t tokens, size_t head) { return plan_of(tokens, head).bytes; }

void ck_attention_tiles(ck_tile_operations operations, uint16_t *out, size_t out_stride, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                        size_t stride, size_t tokens, size_t head, float scale, void *scratch) {
  head_plan p = plan_of(tokens, head);
  char *memory = scratch;
  size_t keys = p.keys * PAIR_VALUES, columns = p.columns * 16;
  float *scores = (float *)(memory + p.scores), *sums = (float *)(memory + p.sums), inverse[QUERIES];
  ck_tile_weights(memory + p.key_tiles, k, 2 * stride, tokens, 2 * head);
  ck_tile_transposed_weights(memory + p.value_tiles, v, stride, tokens, head);
  // Blocks of keys go in pairs; the scores of one that only fills a pair up are not read.
  size_t written = (tokens + 15) / 16 * p.features * CK_TILE_BYTES;
  memset(memory + p.key_tiles + written, 0, p.value_tiles - written);
  memset(memory + p.query_tiles, 0, p.weight_tiles - p.query_tiles);
  for (size_t first = 0; first < tokens; first += QUERIES) {
    size_t count = tokens - first < QUERIES ? tokens - first : QUERIES, blocks = (count + 15) / 16;
    ck_tile_rows(memory + p.query_tiles, p.features * CK_TILE_ROW_BYTES, 0, 0, q + first * stride, 2 * stride, count, 2 * head);
    ck_tile_product_bf16(operations, scores, keys, memory + p.query_tiles, memory + p.key_tiles, (ck_tile_shape){blocks, 2 * p.keys, p.features});
    ck_softmax_to_tiles(memory + p.weight_tiles, inverse, scores, count, tokens, keys, scale);
    ck_tile_product_bf16(operations, sums, columns, memory + p.weight_tiles, memory + p.value_tiles, (ck_tile_shape){blocks, p.columns, p.keys});
    ck_scale_rows_bf16(out + first * out_stride, out_stride, sums, columns, inverse, count, head);
  }
}
