// The engine, errors, and running a primitive on the calling thread alone.
#define _GNU_SOURCE
#include "internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char last_error[256] = "no call has failed";

const char *od_error(void) { return last_error; }

bool od_fail(const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(last_error, sizeof last_error, format, values);
  va_end(values);
  return false;
}

#if OD_PRESENT

bool od_present(void) { return od_engine() != NULL; }

static char version_text[32];
static void write_version(void) {
  const dnnl_version_t *v = dnnl_version();
  snprintf(version_text, sizeof version_text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

const char *od_version(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, write_version);
  return version_text;
}

const char *od_kernels(void) {
  static const struct {
    unsigned instructions;
    const char *name;
  } sets[] = {{dnnl_cpu_isa_avx512_core_amx, "AMX tiles"},
              {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with bfloat16"},
              {dnnl_cpu_isa_avx512_core_vnni, "AVX-512 with VNNI"},
              {dnnl_cpu_isa_avx512_core, "AVX-512"},
              {dnnl_cpu_isa_avx2_vnni, "AVX2 with VNNI"},
              {dnnl_cpu_isa_avx2, "AVX2"}};
  unsigned here = dnnl_get_effective_cpu_isa();
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if ((here & sets[i].instructions) == sets[i].instructions) return sets[i].name;
  return "SSE4.1";
}

bool od_multiplies(od_type type) {
  if (!od_present()) return false;
  // The sets of instructions are bits, each set holding those below it.
  unsigned here = dnnl_get_effective_cpu_isa();
  unsigned needed = type == OD_F32    ? dnnl_cpu_isa_avx2
                    : type == OD_BF16 ? dnnl_cpu_isa_avx512_core_bf16
                                      : dnnl_cpu_isa_avx512_core_vnni;
  return (here & needed) == needed;
}

static dnnl_engine_t engine;
static void make_engine(void) {
  if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
}

dnnl_engine_t od_engine(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_engine);
  return engine;
}

dnnl_data_type_t od_data_type(od_type type) {
  switch (type) {
    case OD_F32: return dnnl_f32;
    case OD_BF16: return dnnl_bf16;
    case OD_S32: return dnnl_s32;
    case OD_S8: return dnnl_s8;
    case OD_U8: return dnnl_u8;
  }
  return dnnl_data_type_undef;
}

bool od_check(dnnl_status_t status, const char *what) {
  if (status == dnnl_success) return true;
  return od_fail("%s: %s cannot do it on this processor (status %d)", what, od_version(), (int)status);
}

#if DNNL_VERSION_MAJOR >= 3
bool od_describe(od_description *out, int rank, const dnnl_dim_t *sides, dnnl_data_type_t type, const dnnl_dim_t *strides) {
  return od_check(strides ? dnnl_memory_desc_create_with_strides(out, rank, sides, type, strides)
                          : dnnl_memory_desc_create_with_tag(out, rank, sides, type, dnnl_format_tag_any),
                  "a layout");
}
void od_forget_description(od_description *description) { dnnl_memory_desc_destroy(*description); }
#else
bool od_describe(od_description *out, int rank, const dnnl_dim_t *sides, dnnl_data_type_t type, const dnnl_dim_t *strides) {
  dnnl_dims_t s = {0};
  for (int i = 0; i < rank; i++) s[i] = sides[i];
  if (!strides) return od_check(dnnl_memory_desc_init_by_tag(out, rank, s, type, dnnl_format_tag_any), "a layout");
  dnnl_dims_t t = {0};
  for (int i = 0; i < rank; i++) t[i] = strides[i];
  return od_check(dnnl_memory_desc_init_by_strides(out, rank, s, type, t), "a layout");
}
void od_forget_description(od_description *description) { (void)description; }
#endif

dnnl_status_t od_add_to_output(dnnl_primitive_attr_t attributes) {
  dnnl_post_ops_t after;
  dnnl_status_t status = dnnl_post_ops_create(&after);
  if (status != dnnl_success) return status;
#if DNNL_VERSION_MAJOR >= 3
  status = dnnl_post_ops_append_sum(after, 1, 0, dnnl_data_type_undef);
#else
  status = dnnl_post_ops_append_sum(after, 1);
#endif
  if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, after);
  dnnl_post_ops_destroy(after);
  return status;
}

// Each thread keeps a stream and, for every primitive it has run, the handles that carry the addresses: a handle may not be
// shared, and after a thread's first run of a primitive nothing is allocated here any more. Numbers are not used twice; the handles
// of a primitive that is gone stay until the thread ends.
typedef struct {
  int count;
  dnnl_memory_t handles[OD_MAX_ARGUMENTS];
} bound;

typedef struct {
  dnnl_stream_t stream;
  bound *table;
  size_t count;
} thread_state;

static pthread_key_t state_key;

static void drop_handles(bound *entry) {
  for (int i = 0; i < entry->count; i++) dnnl_memory_destroy(entry->handles[i]);
  entry->count = 0;
}

static void drop_state(void *pointer) {
  thread_state *state = pointer;
  for (size_t i = 0; i < state->count; i++) drop_handles(&state->table[i]);
  if (state->stream) dnnl_stream_destroy(state->stream);
  free(state->table);
  free(state);
}

static void make_key(void) { pthread_key_create(&state_key, drop_state); }

/// OpenMP would split a run over threads of its own beside the program's.
static void stay_on_this_thread(void) {
  void (*set)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  if (set) set(1);
}

static thread_state *this_thread(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_key);
  thread_state *state = pthread_getspecific(state_key);
  if (state) return state;
  state = calloc(1, sizeof *state);
  if (!state) {
    od_fail("no memory for a thread's stream");
    return NULL;
  }
  stay_on_this_thread();
  if (!od_check(dnnl_stream_create(&state->stream, od_engine(), dnnl_stream_default_flags), "a stream")) {
    free(state);
    return NULL;
  }
  pthread_setspecific(state_key, state);
  return state;
}

dnnl_primitive_attr_t od_attributes(void) {
  dnnl_primitive_attr_t attributes = NULL;
  // The number of threads is fixed when a primitive is described, which is what attributes are for.
  if (!this_thread() || !od_check(dnnl_primitive_attr_create(&attributes), "attributes")) return NULL;
  dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
  return attributes;
}

static _Atomic unsigned next_number;

bool od_executable_create(od_executable *out, dnnl_primitive_desc_t descriptor, const char *what) {
  out->descriptor = descriptor;
  out->count = 0;
  out->primitive = NULL;
  if (!od_check(dnnl_primitive_create(&out->primitive, descriptor), what)) {
    if (out->primitive) dnnl_primitive_destroy(out->primitive);
    dnnl_primitive_desc_destroy(descriptor);
    return false;
  }
  out->number = next_number++;
  return true;
}

void od_add_argument(od_executable *executable, int name, dnnl_query_t query) {
  executable->names[executable->count] = name;
  executable->layouts[executable->count] = dnnl_primitive_desc_query_md(executable->descriptor, query, 0);
  executable->count++;
}

void od_executable_destroy(od_executable *executable) {
  dnnl_primitive_destroy(executable->primitive);
  dnnl_primitive_desc_destroy(executable->descriptor);
}

/// This thread's handles of an executable, made at its first run here.
static bound *bound_here(thread_state *state, const od_executable *executable) {
  if (executable->number >= state->count) {
    size_t larger = executable->number + 16;
    bound *grown = realloc(state->table, larger * sizeof *grown);
    if (!grown) {
      od_fail("no memory for a primitive's handles");
      return NULL;
    }
    memset(grown + state->count, 0, (larger - state->count) * sizeof *grown);
    state->table = grown;
    state->count = larger;
  }
  bound *entry = &state->table[executable->number];
  while (entry->count < executable->count) {
    dnnl_memory_t *handle = &entry->handles[entry->count];
    if (!od_check(dnnl_memory_create(handle, executable->layouts[entry->count], od_engine(), DNNL_MEMORY_NONE), "a handle")) return NULL;
    entry->count++;
  }
  return entry;
}

bool od_run(const od_executable *executable, void *const *addresses) {
  thread_state *state = this_thread();
  bound *entry = state ? bound_here(state, executable) : NULL;
  if (!entry) return false;
  dnnl_exec_arg_t arguments[OD_MAX_ARGUMENTS];
  for (int i = 0; i < executable->count; i++) {
    dnnl_memory_set_data_handle(entry->handles[i], addresses[i]);
    arguments[i] = (dnnl_exec_arg_t){executable->names[i], entry->handles[i]};
  }
  return od_check(dnnl_primitive_execute(executable->primitive, state->stream, executable->count, arguments), "a run");
}

bool od_reorder(od_layout from, const void *source, od_layout to, void *target) {
  thread_state *state = this_thread();
  dnnl_primitive_desc_t descriptor = NULL;
  dnnl_primitive_t primitive = NULL;
  dnnl_memory_t handles[2] = {NULL, NULL};
  bool done = state &&
              od_check(dnnl_reorder_primitive_desc_create(&descriptor, from, od_engine(), to, od_engine(), NULL), "a change of layout") &&
              od_check(dnnl_primitive_create(&primitive, descriptor), "a change of layout") &&
              od_check(dnnl_memory_create(&handles[0], from, od_engine(), (void *)source), "a handle") &&
              od_check(dnnl_memory_create(&handles[1], to, od_engine(), target), "a handle");
  if (done) {
    dnnl_exec_arg_t arguments[2] = {{DNNL_ARG_FROM, handles[0]}, {DNNL_ARG_TO, handles[1]}};
    done = od_check(dnnl_primitive_execute(primitive, state->stream, 2, arguments), "a change of layout") &&
           od_check(dnnl_stream_wait(state->stream), "a change of layout");
  }
  for (int i = 0; i < 2; i++)
    if (handles[i]) dnnl_memory_destroy(handles[i]);
  if (primitive) dnnl_primitive_destroy(primitive);
  if (descriptor) dnnl_primitive_desc_destroy(descriptor);
  return done;
}

#else

bool od_present(void) { return false; }
const char *od_version(void) { return "no oneDNN"; }
const char *od_kernels(void) { return "no kernels"; }
bool od_multiplies(od_type type) {
  (void)type;
  return false;
}

#endif
