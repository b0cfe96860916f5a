/* Runs every vector, with the least work memory and, where it is built in, with the most. */

#define EDGEKIT_DECODE_IMPLEMENTATION
#define EKD_FAST_ELEMENTS 256 /* so that short vectors use the large tables too */
#include "edgekit_decode.h"

#include "check.h"
#include "largest.h" /* written by vectors.py: CHECK_LARGEST, bytes of the largest tensor */

#ifdef EKD_NO_FAST
enum { WORK_BYTES = EKD_WORK_SMALL };
#else
enum { WORK_BYTES = EKD_WORK_FAST };
#endif

static uint64_t work[WORK_BYTES / 8];
static uint64_t buffer[CHECK_LARGEST / 8 + 1];

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

static int tensor_is_right(const check_vector *vector, const ekd_file *file,
                           const ekd_tensor *tensor, size_t work_bytes, ekd_result *result) {
    uint8_t *bytes = (uint8_t *)buffer;
    size_t width = ekd_restored_bytes(tensor), elements = tensor->elements;
    if (tensor->stored == EKD_TYPE_CODE) {
        *result = ekd_decode_stored(file, tensor, work, work_bytes, bytes, elements);
        if (*result != EKD_OK)
            return 1;
        if (ekd_crc32c(bytes, elements) != vector->codes[tensor->index])
            return 0;
    }
    *result = ekd_decode_restored(file, tensor, work, work_bytes, bytes, elements * width);
    if (*result != EKD_OK)
        return 1;
    to_little_endian(bytes, width, elements);
    return ekd_crc32c(bytes, elements * width) == vector->restored[tensor->index];
}

static int vector_is_right(const check_vector *vector, size_t work_bytes) {
    ekd_file file;
    ekd_tensor tensor;
    ekd_result result = ekd_open(vector->data, vector->bytes, &file);
    if (result == EKD_OK)
        result = ekd_first(&file, &tensor);
    while (result == EKD_OK) {
        /* A rejected vector may say that its tensor is huge; it is refused at its first chunk. */
        if (vector->result == EKD_OK && tensor.index >= vector->tensors)
            return 0;
        if (!tensor_is_right(vector, &file, &tensor, work_bytes, &result))
            return 0;
        if (result == EKD_OK)
            result = ekd_next(&file, &tensor);
    }
    return (result == EKD_END ? EKD_OK : result) == (ekd_result)vector->result;
}

uint32_t check_all(void) {
    uint32_t i;
    for (i = 0; i < check_vector_count; i++) {
        if (!vector_is_right(&check_vectors[i], EKD_WORK_SMALL))
            return i;
        if (!vector_is_right(&check_vectors[i], WORK_BYTES))
            return i;
    }
    return i;
}
