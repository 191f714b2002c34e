#include <cblas.h>
#include <stddef.h>

/* LAPACK's divide-and-conquer eigen-decomposition of a symmetric matrix: the library holds it, no header of Debian's declares it.
   The last two are the lengths of the two one-letter strings, which a Fortran compiler passes behind the arguments. */
void dsyevd_(
    const char *jobz, const char *uplo, const blasint *n, double *a, const blasint *lda, double *w, double *work, const blasint *lwork,
    blasint *iwork, const blasint *liwork, blasint *info, size_t jobz_length, size_t uplo_length);
