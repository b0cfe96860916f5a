/* Decodes every tensor of the model into one buffer and prints its CRC-32C.

   The CRC is taken over the restored elements in little-endian order, so that it is the same on
   every machine. Begin your own app here: the tensors' ids and shapes stand in @prefix@.h. */

#include <stdio.h>
#include <stdlib.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"
#include "@prefix@.h"

/* Aligned for any element; a device would keep both in static memory of these sizes. */
static uint64_t work[(EKD_WORK_SMALL + 7) / 8];
static uint64_t tensor_buffer[(@PREFIX@_LARGEST_TENSOR_BYTES + 7) / 8];

static void to_little_endian(uint8_t *bytes, size_t width, size_t count) {
    const uint16_t one = 1;
    size_t i, low;
    if (*(const uint8_t *)&one)
        return;
    for (i = 0; i < count; i++, bytes += width) {
        for (low = 0; low < width / 2; low++) {
            uint8_t swapped = bytes[low];
            bytes[low] = bytes[width - 1 - low];
            bytes[width - 1 - low] = swapped;
        }
    }
}

int main(void) {
    ekd_file file;
    ekd_tensor tensor;
    ekd_result result = ekd_open(@prefix@_data, @prefix@_bytes(), &file);
    if (result == EKD_OK)
        result = ekd_first(&file, &tensor);
    while (result == EKD_OK) {
        size_t width = ekd_restored_bytes(&tensor);
        result = ekd_decode_restored(&file, &tensor, work, sizeof work, tensor_buffer,
                                     sizeof tensor_buffer);
        if (result != EKD_OK)
            break;
        to_little_endian((uint8_t *)tensor_buffer, width, tensor.elements);
        printf("%08lx %10lu %s\n",
               (unsigned long)ekd_crc32c((const uint8_t *)tensor_buffer, tensor.elements * width),
               (unsigned long)tensor.elements, @prefix@_tensor_names[tensor.index]);
        result = ekd_next(&file, &tensor);
    }
    if (result != EKD_END) {
        fprintf(stderr, "error: the packed model is %s\n", ekd_result_name(result));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
