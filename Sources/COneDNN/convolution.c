// Convolutions with packed weights.
#include "internal.h"

#include <stdlib.h>

#if OD_PRESENT

struct od_convolution {
  od_executable executable;
  od_convolution_shape shape;
};

/// One image with channels last, [1, channels, rows, columns] as oneDNN counts the sides.
static bool describe_image(od_description *out, size_t channels, size_t rows, size_t columns, od_type type) {
  dnnl_dim_t c = (dnnl_dim_t)channels, h = (dnnl_dim_t)rows, w = (dnnl_dim_t)columns;
  dnnl_dim_t sides[4] = {1, c, h, w}, strides[4] = {h * w * c, 1, w * c, c};
  return od_describe(out, 4, sides, od_data_type(type), strides);
}

static bool describe_weights(od_description *out, const od_convolution_shape *s, od_type type, bool packed) {
  dnnl_dim_t o = (dnnl_dim_t)s->out_channels, i = (dnnl_dim_t)s->in_channels, k = (dnnl_dim_t)s->kernel;
  dnnl_dim_t sides[4] = {o, i, k, k}, strides[4] = {i * k * k, k * k, k, 1};
  return od_describe(out, 4, sides, od_data_type(type), packed ? NULL : strides);
}

static bool describe_bias(od_description *out, const od_convolution_shape *s) {
  dnnl_dim_t side = (dnnl_dim_t)s->out_channels, stride = 1;
  return od_describe(out, 1, &side, dnnl_f32, &stride);
}

static dnnl_status_t describe_convolution(dnnl_primitive_desc_t *out, const od_convolution_shape *s, od_layout x, od_layout w,
                                          od_layout bias, od_layout result) {
  dnnl_primitive_attr_t attributes = od_attributes();
  if (!attributes) return dnnl_out_of_memory;
  dnnl_status_t status = s->adding ? od_add_to_output(attributes) : dnnl_success;
  dnnl_dims_t strides = {(dnnl_dim_t)s->stride, (dnnl_dim_t)s->stride}, none = {0, 0};
#if DNNL_VERSION_MAJOR >= 3
  if (status == dnnl_success)
    status = dnnl_convolution_forward_primitive_desc_create(out, od_engine(), dnnl_forward_inference, dnnl_convolution_direct, x, w, bias,
                                                            result, strides, none, none, none, attributes);
#else
  dnnl_convolution_desc_t description;
  if (status == dnnl_success)
    status = dnnl_dilated_convolution_forward_desc_init(&description, dnnl_forward_inference, dnnl_convolution_direct, x, w, bias, result,
                                                        strides, none, none, none);
  if (status == dnnl_success) status = dnnl_primitive_desc_create(out, &description, attributes, od_engine(), NULL);
#endif
  dnnl_primitive_attr_destroy(attributes);
  return status;
}

od_convolution *od_convolution_create(od_convolution_shape s) {
  if (!od_present()) {
    od_fail("oneDNN has no engine for this processor");
    return NULL;
  }
  od_convolution *convolution = calloc(1, sizeof *convolution);
  if (!convolution) {
    od_fail("no memory for a convolution");
    return NULL;
  }
  convolution->shape = s;
  od_description x, w, bias, result;
  size_t in_rows = (s.rows - 1) * s.stride + s.kernel, in_columns = (s.columns - 1) * s.stride + s.kernel;
  bool described = describe_image(&x, s.in_channels, in_rows, in_columns, s.x) && describe_weights(&w, &s, s.x, true) &&
                   describe_bias(&bias, &s) && describe_image(&result, s.out_channels, s.rows, s.columns, OD_F32);
  dnnl_primitive_desc_t descriptor = NULL;
  bool made = described &&
              od_check(describe_convolution(&descriptor, &s, od_as_layout(&x), od_as_layout(&w), od_as_layout(&bias), od_as_layout(&result)),
                       "a convolution") &&
              od_executable_create(&convolution->executable, descriptor, "a convolution");
  if (described) {
    od_forget_description(&x);
    od_forget_description(&w);
    od_forget_description(&bias);
    od_forget_description(&result);
  }
  if (!made) {
    free(convolution);
    return NULL;
  }
  od_add_argument(&convolution->executable, DNNL_ARG_SRC, dnnl_query_src_md);
  od_add_argument(&convolution->executable, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
  // oneDNN answers for the bias as the second of the weights.
  od_executable *executable = &convolution->executable;
  executable->names[executable->count] = DNNL_ARG_BIAS;
  executable->layouts[executable->count++] = dnnl_primitive_desc_query_md(executable->descriptor, dnnl_query_weights_md, 1);
  od_add_argument(executable, DNNL_ARG_DST, dnnl_query_dst_md);
  od_add_argument(executable, DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md);
  return convolution;
}

void od_convolution_destroy(od_convolution *convolution) {
  od_executable_destroy(&convolution->executable);
  free(convolution);
}

size_t od_convolution_packed_bytes(const od_convolution *convolution) {
  return dnnl_memory_desc_get_size(convolution->executable.layouts[1]);
}

size_t od_convolution_scratch_bytes(const od_convolution *convolution) {
  return dnnl_memory_desc_get_size(convolution->executable.layouts[4]);
}

bool od_convolution_pack(const od_convolution *convolution, void *packed, const float *w) {
  od_description plain;
  if (!describe_weights(&plain, &convolution->shape, OD_F32, false)) return false;
  bool done = od_reorder(od_as_layout(&plain), w, convolution->executable.layouts[1], packed);
  od_forget_description(&plain);
  return done;
}

bool od_convolution_run(const od_convolution *convolution, const void *x, const void *packed, const float *bias, float *out, void *scratch) {
  void *addresses[] = {(void *)x, (void *)packed, (void *)bias, out, scratch};
  return od_run(&convolution->executable, addresses);
}

#else

od_convolution *od_convolution_create(od_convolution_shape shape) {
  (void)shape;
  od_fail("this build has no oneDNN");
  return NULL;
}
void od_convolution_destroy(od_convolution *convolution) { (void)convolution; }
size_t od_convolution_packed_bytes(const od_convolution *convolution) { return (void)convolution, 0; }
size_t od_convolution_scratch_bytes(const od_convolution *convolution) { return (void)convolution, 0; }
bool od_convolution_pack(const od_convolution *convolution, void *packed, const float *w) {
  (void)convolution, (void)packed, (void)w;
  return od_fail("this build has no oneDNN");
}
bool od_convolution_run(const od_convolution *convolution, const void *x, const void *packed, const float *bias, float *out, void *scratch) {
  (void)convolution, (void)x, (void)packed, (void)bias, (void)out, (void)scratch;
  return od_fail("this build has no oneDNN");
}

#endif
