/* A fuzzing engine's bytes as a packed file, decoded with the least work memory and with another,
   which must agree. The last byte, which lies in the SHA-256 that isn't checked here, chooses the
   other one: bits 0 and 1 its size, bit 2 whether it is aligned for uint64_t. */

#include <stdlib.h>
#include <string.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#define EKD_FAST_ELEMENTS 256 /* so that short vectors use the large tables too */
#include "edgekit_decode.h"

enum { MOST_BYTES = 1 << 22 };

static ekd_result decode(const ekd_file *file, const ekd_tensor *tensor, size_t offset,
                         size_t work_bytes, uint8_t *out, size_t out_bytes) {
    uint8_t *work = (uint8_t *)malloc(offset + work_bytes);
    ekd_result result;
    if (!work)
        abort();
    result = ekd_decode_restored(file, tensor, work + offset, work_bytes, out, out_bytes);
    free(work);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t works[] = {5120, 45056, 87040, EKD_WORK_FAST};
    size_t work_bytes = works[size ? data[size - 1] & 3 : 0];
    size_t offset = size ? data[size - 1] & 4 : 0;
    ekd_file file;
    ekd_tensor tensor;
    ekd_result result = ekd_open(data, size, &file), other;
    if (result == EKD_OK)
        result = ekd_first(&file, &tensor);
    while (result == EKD_OK) {
        size_t bytes = tensor.elements * ekd_restored_bytes(&tensor);
        if (bytes > MOST_BYTES)
            return 0; /* a caller's cap */
        uint8_t *small = (uint8_t *)malloc(bytes ? bytes : 1);
        uint8_t *large = (uint8_t *)malloc(bytes ? bytes : 1);
        if (!small || !large)
            abort();
        result = decode(&file, &tensor, 0, EKD_WORK_SMALL, small, bytes);
        other = decode(&file, &tensor, offset, work_bytes, large, bytes);
        if ((other == EKD_OK) != (result == EKD_OK))
            abort();
        if (result == EKD_OK && bytes && memcmp(small, large, bytes))
            abort();
        free(small);
        free(large);
        if (result == EKD_OK)
            result = ekd_next(&file, &tensor);
    }
    return 0;
}
