// Products of matrices in tiles by AMX.
#include "CKernelsTiles.h"

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
#pragma clang attribute pop
#endif
