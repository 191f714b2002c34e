// Whether there are tiles, who works on them, and how matrices get into them.
#define _GNU_SOURCE
#include "CKernelsTiles.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// Tiles are too large for the state that every thread has: the system gives room for them to a process that asks (arch_prctl(2)).
enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 };

static ck_tile_access found;
static void ask(void) {
  unsigned a, b, c, d, tiles_bf16_int8 = 1u << 24 | 1u << 22 | 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & tiles_bf16_int8) != tiles_bf16_int8) return;
  found = syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0 ? CK_TILES_GRANTED : CK_TILES_REFUSED;
}

ck_tile_access ck_tiles(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, ask);
  return found;
}
#else
ck_tile_access ck_tiles(void) { return CK_TILES_ABSENT; }
#endif

void ck_tile_rows(void *tiles, size_t inputs_bytes, size_t row, size_t column, const void *pieces, size_t stride, size_t rows, size_t bytes) {
  for (size_t r = row; r < row + rows; r++) {
    char *line = (char *)tiles + r / CK_TILE_ROWS * CK_TILE_ROWS * inputs_bytes + r % CK_TILE_ROWS * CK_TILE_ROW_BYTES;
    const char *piece = (const char *)pieces + (r - row) * stride;
    for (size_t c = column; c < column + bytes;) {
      size_t offset = c % CK_TILE_ROW_BYTES, room = CK_TILE_ROW_BYTES - offset, left = column + bytes - c;
      char *target = line + c / CK_TILE_ROW_BYTES * CK_TILE_BYTES + offset;
      // A whole line of a tile is one vector.
      if (left >= CK_TILE_ROW_BYTES && offset == 0) memcpy(target, piece, CK_TILE_ROW_BYTES);
      else memcpy(target, piece, left < room ? left : room);
      size_t done = left < room ? left : room;
      c += done;
      piece += done;
    }
  }
}

#if defined(__x86_64__)
#define AMX(name) name##_amx
#else
#define AMX(name) name##_plain
#endif
#define PRODUCT(name, sum)                                                                                                \
  void name##_plain(sum *sums, size_t stride, const void *x, const void *w, ck_tile_shape shape);                         \
  void AMX(name)(sum *sums, size_t stride, const void *x, const void *w, ck_tile_shape shape);                            \
  void name(ck_tile_operations operations, sum *sums, size_t stride, const void *x, const void *w, ck_tile_shape shape) { \
    (operations == CK_TILES_AMX ? AMX(name) : name##_plain)(sums, stride, x, w, shape);                                   \
  }
PRODUCT(ck_tile_product_bf16, float)
PRODUCT(ck_tile_product_u8, int32_t)
