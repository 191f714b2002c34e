// Matrix products with packed weights.
#include "internal.h"

#include <stdlib.h>

#if OD_PRESENT

struct od_product {
  od_executable executable;
  od_product_shape shape;
};

static bool describe_matrix(od_description *out, size_t rows, size_t columns, size_t row_stride, size_t column_stride, od_type type) {
  dnnl_dim_t sides[2] = {(dnnl_dim_t)rows, (dnnl_dim_t)columns};
  dnnl_dim_t strides[2] = {(dnnl_dim_t)row_stride, (dnnl_dim_t)column_stride};
  return od_describe(out, 2, sides, od_data_type(type), row_stride ? strides : NULL);
}

static od_layout packed_layout(const od_product *product) { return product->executable.layouts[1]; }

static dnnl_status_t describe_product(dnnl_primitive_desc_t *out, od_layout x, od_layout w, od_layout result, bool adding) {
  dnnl_primitive_attr_t attributes = od_attributes();
  if (!attributes) return dnnl_out_of_memory;
  dnnl_status_t status = adding ? od_add_to_output(attributes) : dnnl_success;
#if DNNL_VERSION_MAJOR >= 3
  if (status == dnnl_success) status = dnnl_matmul_primitive_desc_create(out, od_engine(), x, w, NULL, result, attributes);
#else
  dnnl_matmul_desc_t description;
  if (status == dnnl_success) status = dnnl_matmul_desc_init(&description, x, w, NULL, result);
  if (status == dnnl_success) status = dnnl_primitive_desc_create(out, &description, attributes, od_engine(), NULL);
#endif
  dnnl_primitive_attr_destroy(attributes);
  return status;
}

od_product *od_product_create(od_product_shape s, const od_product *like) {
  if (!od_present()) {
    od_fail("oneDNN has no engine for this processor");
    return NULL;
  }
  od_product *product = calloc(1, sizeof *product);
  if (!product) {
    od_fail("no memory for a product");
    return NULL;
  }
  product->shape = s;
  // oneDNN's second factor is w^T, [k, n].
  od_description x, w, result;
  size_t w_stride = s.outer ? s.n : 0;
  bool described = describe_matrix(&x, s.rows, s.k, s.outer ? 1 : s.x_stride, s.outer ? s.x_stride : 1, s.x) &&
                   describe_matrix(&w, s.k, s.n, w_stride, s.outer, s.w) &&
                   describe_matrix(&result, s.rows, s.n, s.out_stride, 1, s.out);
  dnnl_primitive_desc_t descriptor = NULL;
  bool made = described && od_check(describe_product(&descriptor, od_as_layout(&x), like ? packed_layout(like) : od_as_layout(&w),
                                                     od_as_layout(&result), s.adding),
                                    "a product") &&
              od_executable_create(&product->executable, descriptor, "a product");
  if (described) {
    od_forget_description(&x);
    od_forget_description(&w);
    od_forget_description(&result);
  }
  if (!made) {
    free(product);
    return NULL;
  }
  od_add_argument(&product->executable, DNNL_ARG_SRC, dnnl_query_src_md);
  od_add_argument(&product->executable, DNNL_ARG_WEIGHTS, dnnl_query_weights_md);
  od_add_argument(&product->executable, DNNL_ARG_DST, dnnl_query_dst_md);
  od_add_argument(&product->executable, DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md);
  return product;
}

void od_product_destroy(od_product *product) {
  od_executable_destroy(&product->executable);
  free(product);
}

size_t od_product_packed_bytes(const od_product *product) { return dnnl_memory_desc_get_size(packed_layout(product)); }

size_t od_product_scratch_bytes(const od_product *product) { return dnnl_memory_desc_get_size(product->executable.layouts[3]); }

bool od_product_pack(const od_product *product, void *packed, const void *w, od_type source, bool transposed) {
  const od_product_shape *s = &product->shape;
  od_description plain;
  size_t row_stride = transposed ? s->n : 1, column_stride = transposed ? 1 : s->k;
  if (!describe_matrix(&plain, s->k, s->n, row_stride, column_stride, source)) return false;
  bool done = od_reorder(od_as_layout(&plain), w, packed_layout(product), packed);
  od_forget_description(&plain);
  return done;
}

bool od_product_run(const od_product *product, const void *x, const void *packed, void *out, void *scratch) {
  void *addresses[] = {(void *)x, (void *)packed, out, scratch};
  return od_run(&product->executable, addresses);
}

#else

od_product *od_product_create(od_product_shape shape, const od_product *like) {
  (void)shape, (void)like;
  od_fail("this build has no oneDNN");
  return NULL;
}
void od_product_destroy(od_product *product) { (void)product; }
size_t od_product_packed_bytes(const od_product *product) { return (void)product, 0; }
size_t od_product_scratch_bytes(const od_product *product) { return (void)product, 0; }
bool od_product_pack(const od_product *product, void *packed, const void *w, od_type source, bool transposed) {
  (void)product, (void)packed, (void)w, (void)source, (void)transposed;
  return od_fail("this build has no oneDNN");
}
bool od_product_run(const od_product *product, const void *x, const void *packed, void *out, void *scratch) {
  (void)product, (void)x, (void)packed, (void)out, (void)scratch;
  return od_fail("this build has no oneDNN");
}

#endif
