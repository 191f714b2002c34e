#define LEVEL scalar
#include "kernels.inc"
#include "packed.inc"
#include "image.inc"
