/* A fuzzing engine's bytes as the table and chunk of a single tensor, without a container round it.

   byte 0: mode and coder, byte 1: streams and elements, byte 2: bytes of the record (tables and
   sizes); then the record, and the chunk. */

#include <stdlib.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t streams[] = {1, 4, 8};
    static const size_t works[] = {EKD_WORK_SMALL, 5120, 45056, EKD_WORK_FAST};
    ekd_file file = {0};
    ekd_tensor tensor = {0};
    ekd_chunk chunk = {0};
    ekd_decoder decoder;
    size_t record;
    uint8_t *out;
    void *work;
    if (size < 64)
        return 0; /* a file has at least 192 bytes, of which 32 stand behind a chunk */
    record = 3 + (size_t)data[2] % (size - 35);
    file.data = data;
    file.bytes = size;
    file.features = 1;
    tensor.mode = (uint8_t)(EKD_DIRECT + data[0] % 3);
    tensor.coder = data[0] >> 4 & 1;
    tensor.restored = EKD_TYPE_F32;
    tensor.scale_kind = 0;
    tensor.has_codebook = 0;
    tensor.streams = tensor.coder ? 1 : streams[data[1] % 3];
    tensor.elements = 1u << (data[1] >> 4);
    tensor.chunk_log2 = 20;
    tensor.values_at = 3;
    tensor.next_at = record;
    {
        ekd__cursor body = {data, 3, record};
        if (ekd__skip_table(&body, &tensor, 1) != EKD_OK)
            return 0;
        tensor.positions_at = body.at;
        if (tensor.mode >= EKD_GAP && ekd__skip_table(&body, &tensor, 0) != EKD_OK)
            return 0;
        tensor.index_at = body.at;
    }
    tensor.payload_at = record;
    if (ekd_next_chunk(&file, &tensor, &chunk) != EKD_OK)
        return 0;
    if (chunk.bytes > size - 32 - record)
        return 0;
    out = (uint8_t *)malloc(chunk.elements);
    work = malloc(works[data[0] >> 6]);
    if (!out || !work)
        abort();
    if (ekd_begin(&file, &tensor, work, works[data[0] >> 6], &decoder) == EKD_OK)
        (void)ekd_decode_chunk(&decoder, &chunk, out, chunk.elements);
    free(out);
    free(work);
    return 0;
}
