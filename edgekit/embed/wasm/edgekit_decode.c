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

/* SHA-256 (FIPS 180-4), for pages without a secure context, where browsers offer none. */

static uint32_t rotate(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t state[8], const uint8_t *p) {
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2};
    uint32_t w[64], s[8], i;
    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] +
               (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (i = 0; i < 8; i++)
        s[i] = state[i];
    for (i = 0; i < 64; i++) {
        uint32_t first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                         ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t second = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                          ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + first;
        s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = first + second;
    }
    for (i = 0; i < 8; i++)
        state[i] += s[i];
}

/* Whether the file's last 32 bytes are the SHA-256 of those before them (2.5). */
int EXPORT(ekw_sha256_matches)(void) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const uint8_t *p = file_at();
    uint8_t last[128] = {0};
    size_t bytes, left, i, end;
    if (file_bytes < EKD__SHA256_BYTES)
        return 0;
    bytes = file_bytes - EKD__SHA256_BYTES;
    for (left = bytes; left >= 64; left -= 64, p += 64)
        sha256_block(state, p);
    for (i = 0; i < left; i++)
        last[i] = p[i];
    last[left] = 0x80;
    end = left < 56 ? 64 : 128;
    for (i = 0; i < 8; i++)
        last[end - 1 - i] = (uint8_t)((uint64_t)bytes * 8 >> 8 * i);
    for (i = 0; i < end; i += 64)
        sha256_block(state, last + i);
    for (i = 0; i < 32; i++)
        if (p[left + i] != (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4))))
            return 0;
    return 1;
}
