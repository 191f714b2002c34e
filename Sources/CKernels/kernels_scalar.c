#define LEVEL scalar
#include "kernels.inc"
