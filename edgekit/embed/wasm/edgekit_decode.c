/* The decoder as WebAssembly: one packed file, whose tensors come out piece by piece.

       memory:  stack | static data | file | work | piece

   The host writes the file where ekw_place says, calls ekw_open, and walks:

       for (r = ekw_first(); r == EKD_OK; r = ekw_next())   ekw_tensor describes the tensor
           ekw_begin();
           while (ekw_piece() == EKD_OK)                    ekw_tensor.piece_at, piece_bytes

   A piece is one chunk of restored elements, little-endian as WebAssembly is, so that the memory
   taken here is the file and a few megabytes, however large the tensors are. Memory grows only for
   bytes that the host has, and for sizes that ekw_open has checked; the linker caps it.
   tools/build_wasm.py builds this. */

#include "../../codec/kernels.h"

#define EKD_CRC32C(bytes, count) ekk_crc32c(0, bytes, count)
#define EKD_NO_EIGHT /* a quarter of the module */
#define EDGEKIT_DECODE_IMPLEMENTATION
#include "../edgekit_decode.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

extern uint8_t __heap_base; /* the linker's: the first byte behind static data */

enum { PAGE_BYTES = 65536, ALIGNMENT = 16 };

static uint8_t *work, *piece;
static size_t file_bytes;
static ekd_file file;
static ekd_tensor tensor;
static ekd_decoder decoder;
static ekd_chunk chunk;
static uint32_t pieces; /* of this tensor, so far */

/* What the host reads of a tensor; it finds the fields by their order. */
static struct {
    uint32_t type, rank, elements, element_bytes;
    uint32_t record_at, payload_at; /* for ekw_seek */
    uint32_t piece_at, piece_bytes;
    uint32_t dims[8];
} described;

static uint8_t *file_at(void) {
    return (uint8_t *)(((uintptr_t)&__heap_base + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

/* Whether memory reaches `bytes` from `begin` on, after growing where needed. */
static int reach(const uint8_t *begin, size_t bytes) {
    uint64_t end = (uint64_t)(uintptr_t)begin + bytes;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
    if (end <= have)
        return 1;
    return __builtin_wasm_memory_grow(0, (size_t)((end - have + PAGE_BYTES - 1) / PAGE_BYTES)) !=
           (size_t)-1;
}

/* Room for a file and for work memory; null where memory's cap is passed. */
uint8_t *EXPORT(ekw_place)(size_t bytes) {
    ekk_prepare();
    if (bytes > SIZE_MAX / 2)
        return 0;
    file_bytes = bytes;
    work = file_at() + ((bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
    piece = work + ((EKD_WORK_FAST + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
    return reach(file_at(), (size_t)(piece - file_at())) ? file_at() : 0;
}

ekd_result EXPORT(ekw_open)(void) {
    file.payload_at = 0;
    return ekd_open(file_at(), file_bytes, &file);
}

/* Whether a file that ekw_open refused is sound up to its records: the SHA-256, which the host
   checks, comes before them in chapter 7. */
int EXPORT(ekw_container_is_sound)(void) {
    uint32_t sections;
    if (!file.payload_at) /* the directory's check comes before it is set */
        return 0;
    sections = ekd__u32(file.data + 28);
    return ekd__open_sections(&file, sections) == EKD_OK && file.tensor_count <= 1000000 &&
           ekd__check_sections(&file, sections) == EKD_OK;
}

static ekd_result describe(ekd_result result, size_t record_at) {
    uint32_t i;
    if (result != EKD_OK)
        return result;
    described.type = tensor.restored;
    described.rank = tensor.rank;
    described.elements = tensor.elements;
    described.element_bytes = (uint32_t)ekd_restored_bytes(&tensor);
    described.record_at = (uint32_t)record_at;
    described.payload_at = (uint32_t)tensor.payload_at;
    for (i = 0; i < tensor.rank; i++)
        described.dims[i] = tensor.dims[i];
    return EKD_OK;
}

const void *EXPORT(ekw_tensor)(void) {
    return &described;
}

ekd_result EXPORT(ekw_first)(void) {
    return describe(ekd_first(&file, &tensor), file.tensors_at);
}

ekd_result EXPORT(ekw_next)(void) {
    size_t record_at = tensor.next_at;
    return describe(ekd_next(&file, &tensor), record_at);
}

/* The tensor of an index, by what ekw_tensor said of it: without walking over those before it. */
ekd_result EXPORT(ekw_seek)(uint32_t index, size_t record_at, size_t payload_at) {
    tensor.index = index - 1;
    tensor.next_at = record_at;
    tensor.payload_at = payload_at;
    tensor.payload_bytes = 0;
    return ekw_next();
}

ekd_result EXPORT(ekw_begin)(void) {
    uint64_t most = tensor.elements, width = ekd_restored_bytes(&tensor);
    pieces = 0;
    /* A constant comes in one piece, of at most 2^24 elements. */
    if (tensor.mode != EKD_CONSTANT && most > (uint64_t)1 << tensor.chunk_log2)
        most = (uint64_t)1 << tensor.chunk_log2;
    if (!reach(piece, (size_t)(most * width)))
        return EKD_LIMIT;
    return ekd_begin(&file, &tensor, work, EKD_WORK_FAST, &decoder);
}

ekd_result EXPORT(ekw_piece)(void) {
    size_t width = ekd_restored_bytes(&tensor), bytes;
    described.piece_at = (uint32_t)(uintptr_t)piece;
    if (tensor.mode == EKD_CONSTANT) {
        if (pieces++)
            return EKD_END;
        described.piece_bytes = (uint32_t)(tensor.elements * width);
        return ekd_decode_restored(&file, &tensor, work, EKD_WORK_FAST, piece,
                                   described.piece_bytes);
    }
    EKD__TRY(pieces++ ? ekd_next_chunk(&file, &tensor, &chunk)
                      : ekd_first_chunk(&file, &tensor, &chunk));
    bytes = chunk.elements * width;
    described.piece_bytes = (uint32_t)bytes;
    return ekd_restore_chunk(&decoder, &chunk, piece, bytes);
}

/* Whether the file's last 32 bytes are the SHA-256 of those before them (2.5), for pages without a
   secure context, where browsers offer none. */
int EXPORT(ekw_sha256_matches)(void) {
    return ekd_check_sha256(file_at(), file_bytes) == EKD_OK;
}
