#define LEVEL scalar
#include "kernels.inc"
#include "packed.inc"
#include "image.inc"
#include "tiles_plain.inc"
#include "tiles_layout.inc"
