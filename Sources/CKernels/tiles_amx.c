// Products of matrices in tiles by AMX.
#include "CKernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TILE_FN(name) name##_amx
#define INLINE static inline __attribute__((always_inline))

typedef struct {
  uint8_t palette, first_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_configuration;

// Eight tiles of 16 rows of 64 bytes.
static const tile_configuration eight_tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

#define TILE_REGISTERS
#define tile_config() _tile_loadconfig(&eight_tiles)
#define tile_release() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from) _tile_loadd(t, from, CK_TILE_ROW_BYTES)
#define tile_store(t, to, stride) _tile_stored(t, to, stride)
#define tile_dot_bf16(sum, x, w) _tile_dpbf16ps(sum, x, w)
#define tile_dot_int8(sum, x, w) _tile_dpbusd(sum, x, w)

#pragma clang attribute push(__attribute__((target("amx-tile,amx-bf16,amx-int8"))), apply_to = function)
#include "tiles.inc"

// The four tiles of sums, again and again: what ck_register_operations counts.
uint64_t ck_tile_register_operations(ck_factors kind, size_t rounds) {
  tile_factors factors = kind == CK_FACTORS_BF16 ? FACTORS_BF16 : FACTORS_INT8;
  uint64_t terms = factors == FACTORS_BF16 ? CK_TILE_ROW_BYTES / 2 : CK_TILE_ROW_BYTES;
  // Configured tiles are zero.
  tile_config();
  for (size_t round = 0; round < rounds; round++) {
    TILE_DOT(0, 4, 6);
    TILE_DOT(1, 4, 7);
    TILE_DOT(2, 5, 6);
    TILE_DOT(3, 5, 7);
  }
  tile_release();
  return rounds * 4 * 2 * CK_TILE_ROWS * CK_TILE_ROWS * terms;
}
#pragma clang attribute pop
#endif
