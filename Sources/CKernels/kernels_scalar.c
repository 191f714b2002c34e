#define LEVEL scalar
#include "kernels.inc"
#include "packed.inc"
