// Matrices half of whose values are zero: which values stay, and elements most of which are zero, held as one bit each and those that are not
// zero in order.
//
// Elements come in lines of 64 bytes: 32 of 2 bytes or 64 of 1. Bit i, lowest first, says whether element i is there.
#ifndef CKERNELS_SPARSE_H
#define CKERNELS_SPARSE_H

#include <stddef.h>
#include <stdint.h>

/// Elements of lines that are not zero, in any of their bits.
size_t ck_count_elements(const void *x, size_t lines, size_t element_bytes);
/// Their bits and, one after the other, themselves.
void ck_hold_elements(void *bits, void *held, const void *x, size_t lines, size_t element_bytes);
/// The lines again; `out` begins on one. Up to 64 bytes beyond the last held element are read, and must be there.
void ck_expand_2(uint16_t *out, const uint32_t *bits, const uint16_t *held, size_t lines);
void ck_expand_1(uint8_t *out, const uint64_t *bits, const uint8_t *held, size_t lines);

/// Of every four values along a row of w [rows, n], n a multiple of 4, the two that count most: |w| factor, with a factor per column, or 1 where
/// `factors` is null. Of equal ones the first. out = those, and 0 for the others; out may be w.
void ck_keep_two_of_four(float *out, const float *w, const float *factors, size_t rows, size_t n);
/// g += lambda (w - kept), which is lambda w where w was not kept.
void ck_pull_dropped(float *g, const float *w, const float *kept, float lambda, size_t count);

/// Whether lines are expanded by the processor's own instruction at the level in use.
int ck_expands_natively(void);

#endif
