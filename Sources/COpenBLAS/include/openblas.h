#pragma once

#include <stdbool.h>

// OpenBLAS, loaded when the first product is wanted: a program that multiplies nothing maps none of it.
//
// It is told to use the calling thread alone before it is there: told later, it has started a thread per processor before `main`, each with a
// stack and a buffer that a limit of the address space may refuse. The kernels are chosen by what the processor can do, where the user has not
// chosen (OPENBLAS_CORETYPE): a processor that is younger than the library would else get those of 2004.

/// Loads the library and takes buffers for so many threads that multiply at once.
/// - returns: how many there are buffers for, 0 where the library cannot be used; `ob_failure` says why.
int ob_reserve(int threads);

/// One sentence on what the last `ob_reserve` was refused.
const char *ob_failure(void);

/// What the library says of itself, and the kernels that it runs; empty where it cannot be used.
const char *ob_config(void);
const char *ob_corename(void);

// Rows first. Where no buffer is free and none more is to be had, a call waits for one; with none at all it ends the program, saying why.

void ob_sgemm(bool a_transposed, bool b_transposed, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
void ob_dgemm(bool a_transposed, bool b_transposed, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);

/// The upper triangle of c = a^T a, for a of k rows.
void ob_dsyrk(int n, int k, const double *a, int lda, double *c, int ldc);

/// LAPACK's dsyevd on the upper triangle: a is overwritten by the eigenvectors where they are wanted.
/// - returns: LAPACK's info.
int ob_dsyevd(bool vectors, int n, double *a, double *w, double *work, int work_count, int *whole, int whole_count);

/// From the upper triangle of a symmetric matrix H to that of U, where U^T U is H's inverse, by LAPACK's dpotrf and dpotri.
/// - returns: LAPACK's info; not 0 where H is not positive definite.
int ob_inverse_factor(int n, double *a);
