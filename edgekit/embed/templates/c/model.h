/* @name@: @packed_bytes@ bytes packed, @tensor_count@ tensors. Written by edgekit embed.

   SHA-256 of the contents: @digest@ */

#ifndef @PREFIX@_H
#define @PREFIX@_H

#include <stddef.h>
#include <stdint.h>

#define @PREFIX@_TENSOR_COUNT @tensor_count@u
#define @PREFIX@_LARGEST_TENSOR_BYTES @largest_bytes@u /* restored */
#define @PREFIX@_ALL_TENSORS_BYTES @restored_bytes@u   /* restored, all together */

extern const uint8_t @prefix@_data[];
size_t @prefix@_bytes(void);

/* Ids for ekd_find, with shape and restored type. */
enum {
@ids@
};

static const char *const @prefix@_tensor_names[] = {
@names@
};

#endif
