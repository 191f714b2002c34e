#define LEVEL scalar
#include "kernels.inc"
#include "image.inc"
