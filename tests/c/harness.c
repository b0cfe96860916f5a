/* Decodes packed files from exact-size buffers and prints what they hold.

   usage: harness
          harness WORK_BYTES[+OFFSET] FILE...

   Alone, the least and the most work memory. Otherwise the work memory begins OFFSET bytes behind
   an address that is aligned for all types, and there is a line a file with its result, then for
   each tensor the CRC-32C of its stored elements and of its restored ones in little-endian order.
   Built with sanitizers, every read or write outside a buffer ends the program. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#define EKD_FAST_ELEMENTS 256 /* so that short vectors use the large tables too */
#include "edgekit_decode.h"

static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long length;
    if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0)
        exit(2);
    rewind(file);
    *bytes = (size_t)length;
    data = (uint8_t *)malloc(*bytes ? *bytes : 1);
    if (!data || fread(data, 1, *bytes, file) != *bytes)
        exit(2);
    fclose(file);
    return data;
}

static void to_little_endian(uint8_t *bytes, size_t width, size_t count) {
    const uint16_t one = 1;
    size_t i, low;
    if (*(const uint8_t *)&one)
        return;
    for (i = 0; i < count; i++, bytes += width)
        for (low = 0; low < width / 2; low++) {
            uint8_t swapped = bytes[low];
            bytes[low] = bytes[width - 1 - low];
            bytes[width - 1 - low] = swapped;
        }
}

enum { MOST_BYTES = 1 << 26 }; /* a caller's cap, for damaged files */

/* Both outputs have exactly the size that the tensor needs. */
static ekd_result show_tensor(const ekd_file *file, const ekd_tensor *tensor, void *work,
                              size_t work_bytes) {
    size_t stored = tensor->elements * ekd_stored_bytes(tensor);
    size_t restored = tensor->elements * ekd_restored_bytes(tensor);
    uint8_t *codes, *weights;
    ekd_result result, other;
    if (restored > MOST_BYTES)
        return EKD_LIMIT;
    codes = (uint8_t *)malloc(stored ? stored : 1);
    weights = (uint8_t *)malloc(restored ? restored : 1);
    if (!codes || !weights)
        exit(2);
    result = ekd_decode_stored(file, tensor, work, work_bytes, codes, stored);
    other = ekd_decode_restored(file, tensor, work, work_bytes, weights, restored);
    if (result != other) {
        fprintf(stderr, "%s, but %s to weights\n", ekd_result_name(result), ekd_result_name(other));
        exit(3);
    }
    if (result == EKD_OK) {
        to_little_endian(weights, ekd_restored_bytes(tensor), tensor->elements);
        printf("  %08lx %08lx\n", (unsigned long)ekd_crc32c(codes, stored),
               (unsigned long)ekd_crc32c(weights, restored));
    }
    free(codes);
    free(weights);
    return result;
}

static ekd_result show_file(const uint8_t *data, size_t bytes, void *work, size_t work_bytes) {
    ekd_file file;
    ekd_tensor tensor;
    ekd_result result = ekd_open(data, bytes, &file);
    if (result == EKD_OK)
        result = ekd_first(&file, &tensor);
    while (result == EKD_OK) {
        result = show_tensor(&file, &tensor, work, work_bytes);
        if (result == EKD_OK)
            result = ekd_next(&file, &tensor);
    }
    return result == EKD_END ? EKD_OK : result;
}

int main(int count, char **words) {
    size_t work_bytes, offset, bytes;
    uint8_t *memory;
    char *end;
    int i;
    if (count == 1) {
        printf("%d %d\n", EKD_WORK_SMALL, EKD_WORK_FAST);
        return 0;
    }
    work_bytes = strtoul(words[1], &end, 10);
    offset = *end == '+' ? strtoul(end + 1, NULL, 10) : 0;
    memory = (uint8_t *)malloc(offset + work_bytes);
    if (!memory)
        return 2;
    for (i = 2; i < count; i++) {
        uint8_t *data = read_file(words[i], &bytes);
        ekd_result result = show_file(data, bytes, memory + offset, work_bytes);
        printf("%s %s\n", ekd_result_name(result), words[i]);
        free(data);
    }
    free(memory);
    return 0;
}
