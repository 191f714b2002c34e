// What the files of this target share: the engine, the stream of each thread, running a primitive, and errors.
#ifndef CONEDNN_INTERNAL_H
#define CONEDNN_INTERNAL_H

#include "COneDNN.h"

// The package defines OD_ONEDNN where it found the library.
#ifdef OD_ONEDNN
#include <oneapi/dnnl/dnnl.h>
// Another threading library would start threads that this program does not know of.
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP || DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_SEQ
#define OD_PRESENT 1
#endif
#endif

/// Keeps the sentence for `od_error` and answers false.
bool od_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#if OD_PRESENT

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t od_layout;  // of a primitive descriptor, which owns it
typedef dnnl_memory_desc_t od_description;   // ours, to be destroyed
#else
typedef const dnnl_memory_desc_t *od_layout;
typedef dnnl_memory_desc_t od_description;
#endif

#define OD_MAX_ARGUMENTS 6

/// A primitive and the layout of each of its arguments.
typedef struct {
  dnnl_primitive_desc_t descriptor;
  dnnl_primitive_t primitive;
  unsigned number;  // names it in the threads' tables
  int count;
  int names[OD_MAX_ARGUMENTS];  // DNNL_ARG_...
  od_layout layouts[OD_MAX_ARGUMENTS];
} od_executable;

/// The processor's engine, made at first use; null on failure.
dnnl_engine_t od_engine(void);
dnnl_data_type_t od_data_type(od_type type);
/// Turns a status into true, or into false with a sentence about `what`.
bool od_check(dnnl_status_t status, const char *what);

/// A description of `rank` sides with strides; null strides leave the layout to oneDNN.
bool od_describe(od_description *out, int rank, const dnnl_dim_t *sides, dnnl_data_type_t type, const dnnl_dim_t *strides);
void od_forget_description(od_description *description);
#if DNNL_VERSION_MAJOR >= 3
static inline od_layout od_as_layout(const od_description *description) { return *description; }
#else
static inline od_layout od_as_layout(const od_description *description) { return description; }
#endif

/// Attributes with scratch memory left to the caller.
dnnl_primitive_attr_t od_attributes(void);
/// Has the primitive add to what its output holds.
dnnl_status_t od_add_to_output(dnnl_primitive_attr_t attributes);

/// Makes the primitive of a descriptor, which it takes over; arguments are added with `od_add_argument`.
bool od_executable_create(od_executable *out, dnnl_primitive_desc_t descriptor, const char *what);
void od_add_argument(od_executable *executable, int name, dnnl_query_t query);
void od_executable_destroy(od_executable *executable);
/// Runs it on this thread alone with one address per argument, in the order in which they were added.
bool od_run(const od_executable *executable, void *const *addresses);

/// Copies values from one layout into another, converting their type.
bool od_reorder(od_layout from, const void *source, od_layout to, void *target);

#endif
#endif
