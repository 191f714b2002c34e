#define _GNU_SOURCE
#include "process_limits.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

// What a program's own threads take before it does anything: their stacks.
enum { LEAST = 48 << 20 };

static char sentence[256];

static void end(int signal) {
  (void)signal;
  ssize_t ignored = write(STDERR_FILENO, sentence, strlen(sentence));
  (void)ignored;
  _exit(1);
}

void cp_hold_standard_descriptors(void) {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
    // The lowest free number is this one. What is opened so is neither read nor written: the system refuses it as if it were closed.
    if (fcntl(descriptor, F_GETFD) == -1) open("/", O_PATH);
  }
}

void cp_meet_limits(void) {
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit space, data;
  if (getrlimit(RLIMIT_AS, &space) != 0 || getrlimit(RLIMIT_DATA, &data) != 0) return;
  bool is_bounded = space.rlim_cur != RLIM_INFINITY;
  if (!is_bounded && data.rlim_cur == RLIM_INFINITY) return;
  snprintf(sentence, sizeof sentence, "error: the system refused memory: this process may take %llu MiB of it (ulimit %s); raise that limit, or use fewer threads\n",
           (unsigned long long)(is_bounded ? space : data).rlim_cur >> 20, is_bounded ? "-v" : "-d");
  mallopt(M_ARENA_MAX, 1);
  if (is_bounded) {
    void *probe = mmap(NULL, LEAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) end(0);
    munmap(probe, LEAST);
  }
  // A stack of its own: the thread's may be what could not grow.
  static char stack[1 << 16];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_handler = end, .sa_flags = SA_ONSTACK};
  const int signals[] = {SIGABRT, SIGILL, SIGTRAP, SIGSEGV};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}
