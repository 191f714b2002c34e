#define _GNU_SOURCE
#include "openblas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// CBLAS's numbers.
enum { ROWS_FIRST = 101, PLAIN = 111, TRANSPOSED = 112, UPPER = 121 };

static struct {
  void (*sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
  void (*dgemm)(int, int, int, int, int, int, double, const double *, int, const double *, int, double, double *, int);
  void (*dsyrk)(int, int, int, int, int, double, const double *, int, double, double *, int);
  // The last arguments are the lengths of the one-letter strings, which a Fortran compiler passes behind the arguments.
  void (*dsyevd)(const char *, const char *, const int *, double *, const int *, double *, double *, const int *, int *, const int *, int *, size_t, size_t);
  void (*dpotrf)(const char *, const int *, double *, const int *, int *, size_t);
  void (*dpotri)(const char *, const int *, double *, const int *, int *, size_t);
  char *(*config)(void);
  char *(*corename)(void);
  void *(*take_buffer)(int);
  void (*free_buffer)(void *);
} blas;

static char failure[512] = "OpenBLAS has not been asked for";

// Before any thread of this process, which might read the environment meanwhile.
__attribute__((constructor)) static void settle(void) {
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  const char *chosen = getenv("OPENBLAS_CORETYPE");
  if (chosen && *chosen) return;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
    setenv("OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512bf16") ? "Cooperlake" : "SkylakeX", 1);
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    setenv("OPENBLAS_CORETYPE", __builtin_cpu_is("amd") ? "Zen" : "Haswell", 1);
#endif
}

static bool is_loaded;

static void load(void) {
  static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
  void *library = NULL;
  char first[256] = "";
  for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++) {
    library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library && !*first) snprintf(first, sizeof first, "%s", dlerror());
  }
  if (!library) {
    snprintf(failure, sizeof failure, "OpenBLAS cannot be loaded (%s); %s", first,
             strstr(first, "cannot open shared object") ? "Debian's package is libopenblas0" : "the system may have refused it memory (ulimit -v)");
    return;
  }
  const struct { void *place; const char *name; } table[] = {
    {&blas.sgemm, "cblas_sgemm"}, {&blas.dgemm, "cblas_dgemm"}, {&blas.dsyrk, "cblas_dsyrk"}, {&blas.dsyevd, "dsyevd_"},
    {&blas.dpotrf, "dpotrf_"}, {&blas.dpotri, "dpotri_"},
    {&blas.config, "openblas_get_config"}, {&blas.corename, "openblas_get_corename"},
    {&blas.take_buffer, "blas_memory_alloc"}, {&blas.free_buffer, "blas_memory_free"},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    void *symbol = dlsym(library, table[i].name);
    if (!symbol) {
      snprintf(failure, sizeof failure, "the OpenBLAS of this machine has no %s", table[i].name);
      return;
    }
    memcpy(table[i].place, &symbol, sizeof symbol);
  }
  is_loaded = true;
}

static bool loaded(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  return is_loaded;
}

// OpenBLAS asks again for ever where the system refuses it a buffer, so the system is asked first. Buffers are kept by the library and
// used again.
// A second thread's buffer leaves room for what else a program takes: as much again as all buffers.
enum { BUFFER = 128 << 20, MARGIN = 16 << 20, REST = 256 << 20, MOST = 512 };
static atomic_int buffers;
static atomic_int users;
static pthread_mutex_t growth = PTHREAD_MUTEX_INITIALIZER;

static bool would_map(size_t bytes) {
  void *probe = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe == MAP_FAILED) return false;
  munmap(probe, bytes);
  return true;
}

static size_t needed(int count) {
  size_t others = (size_t)count * BUFFER;
  return BUFFER + (count == 0 ? MARGIN : others > REST ? others : REST);
}

int ob_reserve(int threads) {
  if (!loaded()) return 0;
  if (threads > MOST) threads = MOST;
  pthread_mutex_lock(&growth);
  int known = atomic_load(&buffers), have = known;
  if (atomic_load(&users) == 0) {
    // Taken all at once they are all there from now on; the library gives those that it has out again first.
    void *taken[MOST];
    int count = 0;
    while (count < threads && (count < known || would_map(needed(count)))) taken[count++] = blas.take_buffer(0);
    for (int i = 0; i < count; i++) blas.free_buffer(taken[i]);
    if (count > have) have = count;
  } else {
    while (have < threads && would_map((size_t)(have - known) * BUFFER + needed(have))) have++;
  }
  atomic_store(&buffers, have);
  if (have < threads)
    snprintf(failure, sizeof failure, "the system refused the %d MiB of address space that a matrix product needs (ulimit -v)", BUFFER >> 20);
  pthread_mutex_unlock(&growth);
  return have;
}

const char *ob_failure(void) { return failure; }
const char *ob_config(void) { return loaded() ? blas.config() : ""; }
const char *ob_corename(void) { return loaded() ? blas.corename() : ""; }

static void enter(void) {
  for (;;) {
    int before = atomic_fetch_add_explicit(&users, 1, memory_order_acquire);
    if (before < atomic_load_explicit(&buffers, memory_order_relaxed)) return;
    atomic_fetch_sub_explicit(&users, 1, memory_order_release);
    if (ob_reserve(before + 1) > before) continue;
    if (atomic_load(&buffers) == 0) {
      fprintf(stderr, "error: %s\n", failure);
      _exit(1);
    }
    sched_yield();
  }
}

static void leave(void) { atomic_fetch_sub_explicit(&users, 1, memory_order_release); }

void ob_sgemm(bool a_transposed, bool b_transposed, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc) {
  enter();
  blas.sgemm(ROWS_FIRST, a_transposed ? TRANSPOSED : PLAIN, b_transposed ? TRANSPOSED : PLAIN, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  leave();
}

void ob_dgemm(bool a_transposed, bool b_transposed, int m, int n, int k, double alpha, const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc) {
  enter();
  blas.dgemm(ROWS_FIRST, a_transposed ? TRANSPOSED : PLAIN, b_transposed ? TRANSPOSED : PLAIN, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  leave();
}

void ob_dsyrk(int n, int k, const double *a, int lda, double *c, int ldc) {
  enter();
  blas.dsyrk(ROWS_FIRST, UPPER, TRANSPOSED, n, k, 1, a, lda, 0, c, ldc);
  leave();
}

int ob_dsyevd(bool vectors, int n, double *a, double *w, double *work, int work_count, int *whole, int whole_count) {
  int info = 0;
  enter();
  blas.dsyevd(vectors ? "V" : "N", "U", &n, a, &n, w, work, &work_count, whole, &whole_count, &info, 1, 1);
  leave();
  return info;
}

int ob_inverse_factor(int n, double *a) {
  int info = 0;
  enter();
  // What is the upper triangle by rows is the lower one by columns.
  blas.dpotrf("L", &n, a, &n, &info, 1);
  if (info == 0) blas.dpotri("L", &n, a, &n, &info, 1);
  if (info == 0) blas.dpotrf("L", &n, a, &n, &info, 1);
  leave();
  return info;
}
