/* A fuzzing engine's bytes as the tables and the chunk of a single tensor, without a container
   round it, decoded with five sizes of work memory, which must agree.

   byte 0: bits 0 to 3 mode, bit 4 coder, bits 5 to 7 scale kind 1 to 3; byte 1: streams, and
   with kinds 2 and 3 the columns of a matrix; byte 2: bytes of the record (scales, tables and chunk
   index); bytes 3 and 4: elements, or with kinds 2 and 3 rows; then the record, the chunk, and 32
   bytes as the end of a file. The one scale of kind 1 is bytes 0 and 1 themselves. */

#include <stdlib.h>
#include <string.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#define EKD_FAST_ELEMENTS 256 /* so that short vectors use the large tables too */
#include "edgekit_decode.h"

enum { HEAD = 5, TAIL = 32, MOST_ELEMENTS = 1 << 16 };

/* One scale, or a matrix with scales in the input; the axis is read from there too. */
static ekd_result read_scales(const uint8_t *data, ekd__cursor *body, ekd_tensor *tensor) {
    tensor->scale_kind = (uint8_t)(1 + (data[0] >> 5) % 3);
    tensor->half_scales = 1;
    tensor->rank = 1;
    tensor->dims[0] = tensor->elements = ekd__u16(data + 3) + 1;
    if (tensor->scale_kind == 1)
        return EKD_OK;
    tensor->rank = 2;
    tensor->dims[1] = 1 + data[1] / 3 % 32;
    tensor->elements *= tensor->dims[1];
    if (tensor->elements > MOST_ELEMENTS)
        return EKD_LIMIT;
    return ekd__read_scales(body, tensor);
}

/* What a valid record would say, around the tables in the input. */
static ekd_result read_tensor(const uint8_t *data, size_t size, ekd_file *file,
                              ekd_tensor *tensor) {
    static const uint8_t streams[] = {1, 4, 8};
    ekd__cursor body = {data, HEAD, HEAD + data[2] % (size - HEAD - TAIL)};
    file->data = data;
    file->bytes = size;
    tensor->mode = (uint8_t)(EKD_DIRECT + (data[0] & 15) % 4);
    tensor->coder = data[0] >> 4 & 1;
    tensor->restored = EKD_TYPE_F32;
    tensor->streams = tensor->coder ? 1 : streams[data[1] % 3];
    tensor->chunk_log2 = 20;
    tensor->next_at = tensor->payload_at = body.end;
    EKD__TRY(read_scales(data, &body, tensor));
    tensor->values_at = body.at;
    EKD__TRY(ekd__skip_table(&body, tensor, 1));
    tensor->positions_at = body.at;
    if (ekd__is_sparse(tensor))
        EKD__TRY(ekd__skip_table(&body, tensor, 0));
    tensor->index_at = body.at;
    return EKD_OK;
}

/* A weight for each element, in memory of exactly their size; null where the chunk is refused. */
static float *decode(const ekd_file *file, const ekd_tensor *tensor, const ekd_chunk *chunk,
                     size_t work_bytes) {
    float *weights = (float *)malloc(chunk->elements * sizeof(float));
    void *work = malloc(work_bytes);
    ekd_decoder decoder;
    ekd_result result;
    if (!weights || !work)
        abort();
    result = ekd_begin(file, tensor, work, work_bytes, &decoder);
    if (result == EKD_OK)
        result = ekd_restore_chunk(&decoder, chunk, weights, chunk->elements * sizeof(float));
    free(work);
    if (result == EKD_OK)
        return weights;
    free(weights);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t works[] = {5120, 45056, 87040, EKD_WORK_FAST};
    ekd_file file = {0};
    ekd_tensor tensor = {0};
    ekd_chunk chunk = {0};
    float *expected, *weights;
    size_t i;
    if (size <= HEAD + TAIL || read_tensor(data, size, &file, &tensor) != EKD_OK)
        return 0;
    if (ekd_first_chunk(&file, &tensor, &chunk) != EKD_OK)
        return 0;
    if (chunk.bytes > size - TAIL - tensor.payload_at)
        return 0; /* the reader of records refuses this */
    expected = decode(&file, &tensor, &chunk, EKD_WORK_SMALL);
    for (i = 0; i < sizeof works / sizeof *works; i++) {
        weights = decode(&file, &tensor, &chunk, works[i]);
        if (!weights != !expected)
            abort();
        if (weights && memcmp(weights, expected, chunk.elements * sizeof *weights))
            abort();
        free(weights);
    }
    free(expected);
    return 0;
}
