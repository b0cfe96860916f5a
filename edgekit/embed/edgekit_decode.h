/* edgekit_decode.h: decodes packed files (.ekp), docs/format.md version 1.0. SPDX: Apache-2.0

   In one C or C++ file of your program:

       #define EDGEKIT_DECODE_IMPLEMENTATION
       #include "edgekit_decode.h"

   and in the others the include alone. Then, for a file in memory or in flash:

       static uint32_t work[EKD_WORK_SMALL / 4];
       ekd_file file;
       ekd_tensor tensor;
       ekd_result result = ekd_open(data, data_bytes, &file);
       if (result == EKD_OK) result = ekd_first(&file, &tensor);
       while (result == EKD_OK) {
           result = ekd_decode_f32(&file, &tensor, work, sizeof work, weights, weight_count);
           if (result == EKD_OK) result = ekd_next(&file, &tensor);
       }
       // EKD_END: every tensor was decoded.

   C99, also C++. Needs <stddef.h> and <stdint.h>, and calls no library: no allocation, no globals,
   no recursion. A compiler may still make calls of memset, memcpy or memmove out of loops; where
   there are none of these, -ffreestanding keeps gcc and clang from it. The caller owns every
   buffer. Any bytes may be given as a file: each read is checked, and what breaks the format ends
   in a result that says so. Work memory is aligned for uint32_t; only where it is aligned for
   uint64_t does it hold the large tables.

   Macros that leave parts out: EKD_NO_RANS, EKD_NO_FLOAT, EKD_NO_SHA256, EKD_NO_FAST (the large
   tables), EKD_NO_EIGHT (eight streams in turns: two chunks at once).
   EKD_FAST_ELEMENTS: the large tables are built for tensors of this many elements, 16,384 unless
   defined; of four times as many where weights are sparse.
   EKD_CRC32C(bytes, count) may name a faster CRC-32C than the one here, and
   EKD_LOOK_UP(weights, values, scale, codes, count, out) what turns the first of `count` codes into
   weights[code] * scale by a processor's own means: it says how many it has done. Codes are below
   `values`, or 0 stands there and weights[code] is weights[1] times the signed code. */

#ifndef EDGEKIT_DECODE_H
#define EDGEKIT_DECODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    EKD_OK = 0,
    EKD_END,          /* no further tensor or chunk; not an error */
    EKD_TRUNCATED,    /* ends before a record, chunk or stream does */
    EKD_CHECKSUM,     /* a CRC-32C doesn't match */
    EKD_VERSION,      /* another major version or an unknown feature */
    EKD_CORRUPT,      /* a value that the format forbids */
    EKD_LIMIT,        /* larger than chapter 8 or the caller allows */
    EKD_SMALL_BUFFER, /* the output or the work memory is too small */
    EKD_UNSUPPORTED   /* left out of this build, or not what this tensor holds */
} ekd_result;

/* Work memory in bytes. The least decodes every file. The larger one also holds tables of several
   symbols an entry, the weight of each code, and what a sparse chunk of up to 2^18 elements holds.
   Sizes between the two are used as far as they go. */
enum { EKD_WORK_SMALL = 4096, EKD_WORK_FAST = 2 * (8192 + 32768) + 1024 + 2 * 262144 + 64 };

enum { EKD_RAW, EKD_CONSTANT, EKD_DIRECT, EKD_GAP, EKD_MASK, EKD_TRELLIS }; /* modes, 3.1 */
enum {
    EKD_TYPE_CODE,
    EKD_TYPE_F32,
    EKD_TYPE_F16,
    EKD_TYPE_BF16,
    EKD_TYPE_F64,
    EKD_TYPE_I8,
    EKD_TYPE_U8,
    EKD_TYPE_I32,
    EKD_TYPE_I64
}; /* 3.2 */

typedef struct {
    const uint8_t *data;
    size_t bytes;
    uint32_t tensor_count;
    uint32_t features;
    size_t tensors_at, tensors_bytes; /* the tensor section */
    size_t payload_at, payload_bytes;
} ekd_file;

typedef struct {
    uint32_t index; /* place in the file, from 0: the tensor's id */
    uint8_t mode, coder, restored, stored;
    uint8_t scale_kind, has_codebook, half_scales, half_codebook;
    uint8_t rank, streams, chunk_log2;
    uint32_t dims[8];
    uint32_t axis;
    uint32_t elements;
    uint32_t exceptions;     /* number of them, scale kind 3 */
    uint32_t codebook_count; /* 0 without a codebook */
    size_t scales_at, codebook_at, constant_at, values_at, positions_at, index_at;
    size_t payload_at; /* offset in the file of the first chunk */
    size_t payload_bytes;
    size_t next_at; /* offset of the next record */
} ekd_tensor;

typedef struct {
    uint32_t first; /* number of the first element in the tensor */
    uint32_t elements;
    size_t data_at;
    uint32_t bytes, crc32c, value_count, position_count;
    size_t sizes_at, next_at;
} ekd_chunk;

/* A Huffman code and its tables in work memory; private. */
typedef struct {
    uint16_t *entries;   /* symbol | length << 8 for each value of the next bits; 0: search */
    uint8_t *symbols;    /* by length, then by symbol; only where entries are too few */
    uint64_t *fast;      /* up to six symbols, their bits and their number; or null */
    uint16_t counts[13]; /* codes of each length */
    uint8_t bits;        /* entries are 2^bits */
    uint8_t longest;
    uint8_t last; /* largest symbol that occurs */
    uint8_t is_single;
} ekd__code;

/* The scales of a tensor's channels in order, again from the first behind the last; private. */
typedef struct {
    size_t at;                    /* of the next channel's scale, or of the next exception's */
    uint32_t channel, exceptions; /* next channel, exceptions that are left */
    uint32_t skipped;             /* channels before the next exception */
    float scale;                  /* of the channel before the next one */
} ekd__scales;

/* A tensor that is being decoded: what ekd_begin made of it. Its fields are private. */
typedef struct {
    const ekd_file *file;
    const ekd_tensor *tensor;
    uint8_t *table;
    size_t table_bytes;
    ekd__code values, positions;
    uint8_t *room; /* for the sequences of a sparse chunk, or null */
    size_t room_bytes;
    float *weights; /* of each code before its channel's scale, or null */
    ekd__scales scales;
} ekd_decoder;

const char *ekd_result_name(ekd_result result);
uint32_t ekd_crc32c(const uint8_t *bytes, size_t count);

/* Chapters 2 and 3: checks header, directory, sections but the payload, and every record. */
ekd_result ekd_open(const uint8_t *data, size_t bytes, ekd_file *file);

/* Chapter 2.5: the SHA-256 at a file's end, over all of it: for updates, or once at the start. Each
   chunk has a CRC-32C of its own, which is checked whenever it is decoded. */
ekd_result ekd_check_sha256(const uint8_t *data, size_t bytes);

/* The tensors in order; EKD_END behind the last one. */
ekd_result ekd_first(const ekd_file *file, ekd_tensor *tensor);
ekd_result ekd_next(const ekd_file *file, ekd_tensor *tensor);
ekd_result ekd_find(const ekd_file *file, uint32_t index, ekd_tensor *tensor);

/* Bytes of an element as it is stored, and as it is restored. */
size_t ekd_stored_bytes(const ekd_tensor *tensor);
size_t ekd_restored_bytes(const ekd_tensor *tensor);

/* Chapter 3.4: the chunks of a tensor in order; EKD_END behind the last one. */
ekd_result ekd_first_chunk(const ekd_file *file, const ekd_tensor *tensor, ekd_chunk *chunk);
ekd_result ekd_next_chunk(const ekd_file *file, const ekd_tensor *tensor, ekd_chunk *chunk);

/* Chapter 4: prepares the tables of a tensor in `work`. The file, the tensor's record and `work`
   stay where they are while the decoder is used. */
ekd_result ekd_begin(const ekd_file *file, const ekd_tensor *tensor, void *work, size_t work_bytes,
                     ekd_decoder *decoder);

/* One chunk's stored elements (codes: one byte each, signed on a grid) into `out`. */
ekd_result ekd_decode_chunk(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out,
                            size_t out_bytes);

/* A whole tensor's stored elements, little-endian. */
ekd_result ekd_decode_stored(const ekd_file *file, const ekd_tensor *tensor, void *work,
                             size_t work_bytes, uint8_t *out, size_t out_bytes);

#ifndef EKD_NO_FLOAT
/* Chapter 6: a whole tensor's weights as float32, for codes with a scale or codebook and for
   stored float32 and float16. */
ekd_result ekd_decode_f32(const ekd_file *file, const ekd_tensor *tensor, void *work,
                          size_t work_bytes, float *out, size_t out_elements);

/* One chunk's weights, and a whole tensor, in the restored type and in the byte order of this
   machine; `out` is aligned for that type. */
ekd_result ekd_restore_chunk(ekd_decoder *decoder, const ekd_chunk *chunk, void *out,
                             size_t out_bytes);
ekd_result ekd_decode_restored(const ekd_file *file, const ekd_tensor *tensor, void *work,
                               size_t work_bytes, void *out, size_t out_bytes);

/* The scale of a channel: 1 where the tensor has no scales, or no such channel. */
float ekd_scale(const ekd_file *file, const ekd_tensor *tensor, uint32_t channel);
#endif

#ifdef __cplusplus
}
#endif
#endif /* EDGEKIT_DECODE_H */

#ifdef EDGEKIT_DECODE_IMPLEMENTATION
#ifndef EDGEKIT_DECODE_BODY
#define EDGEKIT_DECODE_BODY

#define EKD__TRY(call)                                                                             \
    do {                                                                                           \
        ekd_result ekd__result = (call);                                                           \
        if (ekd__result != EKD_OK)                                                                 \
            return ekd__result;                                                                    \
    } while (0)

enum {
    EKD__LONGEST = 12,
    EKD__RANS_LOG2 = 12,
    EKD__SHA256_BYTES = 32,
    EKD__FAST_TABLES = 8192 + 32768,
    EKD__BOTH_TABLES = 2 * EKD__FAST_TABLES, /* values and positions */
    EKD__FAST_MEAN_BITS = 6
};

#ifndef EKD_FAST_ELEMENTS
#define EKD_FAST_ELEMENTS 16384
#endif

const char *ekd_result_name(ekd_result result) {
    static const char *const names[] = {"ok",      "end",   "truncated",    "checksum",   "version",
                                        "corrupt", "limit", "small buffer", "unsupported"};
    return (unsigned)result < sizeof names / sizeof *names ? names[result] : "unknown";
}

/* Chapter 1: numbers. Byte order is built by shifts, so that any machine reads the same. */

static uint32_t ekd__u16(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t ekd__u32(const uint8_t *p) {
    return ekd__u16(p) | ekd__u16(p + 2) << 16;
}

static uint64_t ekd__u64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

/* What four bits become that are followed by 0, 4, 8 ... 28 more. */
#ifndef EKD_NO_FAST
#define EKD__CRC_ROWS 8
#else
#define EKD__CRC_ROWS 1 /* 64 bytes of table instead of 512 */
#endif
static const uint32_t ekd__crc_steps[EKD__CRC_ROWS][16] = {
    {0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u, 0x417B1DBCu, 0x5125DAD3u, 0x61C69362u,
     0x7198540Du, 0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u, 0xC38D26C4u, 0xD3D3E1ABu,
     0xE330A81Au, 0xF36E6F75u},
#ifndef EKD_NO_FAST
    {0x00000000u, 0xF26B8303u, 0xE13B70F7u, 0x1350F3F4u, 0xC79A971Fu, 0x35F1141Cu, 0x26A1E7E8u,
     0xD4CA64EBu, 0x8AD958CFu, 0x78B2DBCCu, 0x6BE22838u, 0x9989AB3Bu, 0x4D43CFD0u, 0xBF284CD3u,
     0xAC78BF27u, 0x5E133C24u},
    {0x00000000u, 0x3FC5F181u, 0x7F8BE302u, 0x404E1283u, 0xFF17C604u, 0xC0D23785u, 0x809C2506u,
     0xBF59D487u, 0xFBC3FAF9u, 0xC4060B78u, 0x844819FBu, 0xBB8DE87Au, 0x04D43CFDu, 0x3B11CD7Cu,
     0x7B5FDFFFu, 0x449A2E7Eu},
    {0x00000000u, 0x13A29877u, 0x274530EEu, 0x34E7A899u, 0x4E8A61DCu, 0x5D28F9ABu, 0x69CF5132u,
     0x7A6DC945u, 0x9D14C3B8u, 0x8EB65BCFu, 0xBA51F356u, 0xA9F36B21u, 0xD39EA264u, 0xC03C3A13u,
     0xF4DB928Au, 0xE7790AFDu},
    {0x00000000u, 0x70A27D8Au, 0xE144FB14u, 0x91E6869Eu, 0xC76580D9u, 0xB7C7FD53u, 0x26217BCDu,
     0x56830647u, 0x8B277743u, 0xFB850AC9u, 0x6A638C57u, 0x1AC1F1DDu, 0x4C42F79Au, 0x3CE08A10u,
     0xAD060C8Eu, 0xDDA47104u},
    {0x00000000u, 0xA541927Eu, 0x4F6F520Du, 0xEA2EC073u, 0x9EDEA41Au, 0x3B9F3664u, 0xD1B1F617u,
     0x74F06469u, 0x38513EC5u, 0x9D10ACBBu, 0x773E6CC8u, 0xD27FFEB6u, 0xA68F9ADFu, 0x03CE08A1u,
     0xE9E0C8D2u, 0x4CA15AACu},
    {0x00000000u, 0xE964B13Du, 0xD725148Bu, 0x3E41A5B6u, 0xABA65FE7u, 0x42C2EEDAu, 0x7C834B6Cu,
     0x95E7FA51u, 0x52A0C93Fu, 0xBBC47802u, 0x8585DDB4u, 0x6CE16C89u, 0xF90696D8u, 0x106227E5u,
     0x2E238253u, 0xC747336Eu},
    {0x00000000u, 0xDD45AAB8u, 0xBF672381u, 0x62228939u, 0x7B2231F3u, 0xA6679B4Bu, 0xC4451272u,
     0x1900B8CAu, 0xF64463E6u, 0x2B01C95Eu, 0x49234067u, 0x9466EADFu, 0x8D665215u, 0x5023F8ADu,
     0x32017194u, 0xEF44DB2Cu},
#endif
};

uint32_t ekd_crc32c(const uint8_t *bytes, size_t count) {
    const uint32_t (*steps)[16] = ekd__crc_steps;
    uint32_t crc = 0xFFFFFFFFu;
    size_t i = 0;
#ifndef EKD_NO_FAST
    /* Four bytes at a time: eight lookups that don't wait for each other. */
    for (; count - i >= 4; i += 4) {
        crc ^= ekd__u32(bytes + i);
        crc = steps[7][crc & 15] ^ steps[6][crc >> 4 & 15] ^ steps[5][crc >> 8 & 15] ^
              steps[4][crc >> 12 & 15] ^ steps[3][crc >> 16 & 15] ^ steps[2][crc >> 20 & 15] ^
              steps[1][crc >> 24 & 15] ^ steps[0][crc >> 28];
    }
#endif
    for (; i < count; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ steps[0][crc & 15];
        crc = crc >> 4 ^ steps[0][crc & 15];
    }
    return ~crc;
}

#ifndef EKD_CRC32C
#define EKD_CRC32C(bytes, count) ekd_crc32c(bytes, count)
#endif

static ekd_result ekd__check_crc(const uint8_t *bytes, size_t count, uint32_t expected) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    (void)bytes, (void)count, (void)expected;
    return EKD_OK;
#else
    return EKD_CRC32C(bytes, count) == expected ? EKD_OK : EKD_CHECKSUM;
#endif
}

/* Chapter 2.5: SHA-256 (FIPS 180-4) over all but the file's last 32 bytes, which hold it. */
#ifndef EKD_NO_SHA256
static uint32_t ekd__rotated(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

static void ekd__sha256_block(uint32_t state[8], const uint8_t *p) {
    static const uint32_t k[64] = {
        0x428A2F98u, 0x71374491u, 0xB5C0FBCFu, 0xE9B5DBA5u, 0x3956C25Bu, 0x59F111F1u, 0x923F82A4u,
        0xAB1C5ED5u, 0xD807AA98u, 0x12835B01u, 0x243185BEu, 0x550C7DC3u, 0x72BE5D74u, 0x80DEB1FEu,
        0x9BDC06A7u, 0xC19BF174u, 0xE49B69C1u, 0xEFBE4786u, 0x0FC19DC6u, 0x240CA1CCu, 0x2DE92C6Fu,
        0x4A7484AAu, 0x5CB0A9DCu, 0x76F988DAu, 0x983E5152u, 0xA831C66Du, 0xB00327C8u, 0xBF597FC7u,
        0xC6E00BF3u, 0xD5A79147u, 0x06CA6351u, 0x14292967u, 0x27B70A85u, 0x2E1B2138u, 0x4D2C6DFCu,
        0x53380D13u, 0x650A7354u, 0x766A0ABBu, 0x81C2C92Eu, 0x92722C85u, 0xA2BFE8A1u, 0xA81A664Bu,
        0xC24B8B70u, 0xC76C51A3u, 0xD192E819u, 0xD6990624u, 0xF40E3585u, 0x106AA070u, 0x19A4C116u,
        0x1E376C08u, 0x2748774Cu, 0x34B0BCB5u, 0x391C0CB3u, 0x4ED8AA4Au, 0x5B9CCA4Fu, 0x682E6FF3u,
        0x748F82EEu, 0x78A5636Fu, 0x84C87814u, 0x8CC70208u, 0x90BEFFFAu, 0xA4506CEBu, 0xBEF9A3F7u,
        0xC67178F2u};
    uint32_t w[64], s[8];
    size_t i;
    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] +
               (ekd__rotated(w[i - 15], 7) ^ ekd__rotated(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (ekd__rotated(w[i - 2], 17) ^ ekd__rotated(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (i = 0; i < 8; i++)
        s[i] = state[i];
    for (i = 0; i < 64; i++) {
        uint32_t first = s[7] +
                         (ekd__rotated(s[4], 6) ^ ekd__rotated(s[4], 11) ^ ekd__rotated(s[4], 25)) +
                         ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t second =
            (ekd__rotated(s[0], 2) ^ ekd__rotated(s[0], 13) ^ ekd__rotated(s[0], 22)) +
            ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + first;
        s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = first + second;
    }
    for (i = 0; i < 8; i++)
        state[i] += s[i];
}

ekd_result ekd_check_sha256(const uint8_t *data, size_t bytes) {
    uint32_t state[8] = {0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au,
                         0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u};
    uint8_t last[128];
    size_t left, i, end;
    if (bytes < EKD__SHA256_BYTES)
        return EKD_TRUNCATED;
    bytes -= EKD__SHA256_BYTES;
    for (left = bytes; left >= 64; left -= 64, data += 64)
        ekd__sha256_block(state, data);
    /* What is left, a one bit, zeros, and the number of bits at the end of a block. */
    end = left < 56 ? 64 : 128;
    for (i = 0; i < end; i++) {
        if (i < left)
            last[i] = data[i];
        else if (i + 8 >= end)
            last[i] = (uint8_t)((uint64_t)bytes * 8 >> 8 * (end - 1 - i));
        else
            last[i] = i == left ? 0x80 : 0;
    }
    for (i = 0; i < end; i += 64)
        ekd__sha256_block(state, last + i);
    for (i = 0; i < EKD__SHA256_BYTES; i++)
        if (data[left + i] != (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4))))
            return EKD_CHECKSUM;
    return EKD_OK;
}
#endif

/* The one bounded reader of fields. */
typedef struct {
    const uint8_t *data; /* the file */
    size_t at, end;      /* offsets in it */
} ekd__cursor;

static ekd_result ekd__skip(ekd__cursor *cursor, size_t count, size_t *at) {
    if (count > cursor->end - cursor->at)
        return EKD_TRUNCATED;
    *at = cursor->at;
    cursor->at += count;
    return EKD_OK;
}

static ekd_result ekd__byte(ekd__cursor *cursor, uint8_t *value) {
    size_t at;
    EKD__TRY(ekd__skip(cursor, 1, &at));
    *value = cursor->data[at];
    return EKD_OK;
}

static ekd_result ekd__varint(ekd__cursor *cursor, uint32_t *value) {
    uint32_t number = 0;
    unsigned place;
    uint8_t byte;
    for (place = 0; place < 5; place++) {
        EKD__TRY(ekd__byte(cursor, &byte));
        if (place == 4 && byte > 15)
            return EKD_CORRUPT; /* 2^32 or more */
        number |= (uint32_t)(byte & 127) << 7 * place;
        if (byte < 128) {
            if (byte == 0 && place)
                return EKD_CORRUPT; /* longer than needed */
            *value = number;
            return EKD_OK;
        }
    }
    return EKD_CORRUPT;
}

/* Chapter 2: the container. */

static ekd_result ekd__check_zeros(const uint8_t *data, size_t from, size_t to) {
    for (; from < to; from++)
        if (data[from])
            return EKD_CORRUPT;
    return EKD_OK;
}

static ekd_result ekd__open_sections(ekd_file *file, uint32_t count) {
    const uint8_t *data = file->data;
    size_t end = 40 + 24 * (size_t)count, last = file->bytes - EKD__SHA256_BYTES;
    uint32_t i, kind, previous = 0;
    for (i = 0; i < count; i++) {
        const uint8_t *entry = data + 32 + 24 * (size_t)i;
        uint64_t offset = ekd__u64(entry + 8), bytes = ekd__u64(entry + 16);
        kind = ekd__u32(entry);
        if (i < 5 ? kind != i + 1 : kind < 256 || kind <= previous)
            return EKD_CORRUPT;
        previous = kind;
        if (offset != ((end + 7) & ~(size_t)7))
            return EKD_CORRUPT;
        if (offset > last || bytes > last - offset)
            return EKD_TRUNCATED;
        EKD__TRY(ekd__check_zeros(data, end, (size_t)offset));
        end = (size_t)(offset + bytes);
        if (kind == 1)
            file->tensors_at = (size_t)offset, file->tensors_bytes = (size_t)bytes;
        if (kind == 2)
            file->payload_at = (size_t)offset, file->payload_bytes = (size_t)bytes;
    }
    if (((end + 7) & ~(size_t)7) != last)
        return EKD_CORRUPT;
    return ekd__check_zeros(data, end, last);
}

static ekd_result ekd__check_sections(const ekd_file *file, uint32_t count) {
    uint32_t i;
    for (i = 0; i < count; i++) {
        const uint8_t *entry = file->data + 32 + 24 * (size_t)i;
        size_t offset = (size_t)ekd__u64(entry + 8), bytes = (size_t)ekd__u64(entry + 16);
        uint32_t crc = ekd__u32(entry + 4);
        if (ekd__u32(entry) == 2) {
            if (crc)
                return EKD_CORRUPT; /* its chunks carry the checks */
        } else {
            EKD__TRY(ekd__check_crc(file->data + offset, bytes, crc));
        }
    }
    return EKD_OK;
}

static ekd_result ekd__check_records(const ekd_file *file);

ekd_result ekd_open(const uint8_t *data, size_t bytes, ekd_file *file) {
    static const uint8_t magic[8] = {0x89, 0x45, 0x4B, 0x50, 0x0D, 0x0A, 0x1A, 0x0A};
    uint64_t file_bytes;
    uint32_t sections;
    size_t i, begin;
    for (i = 0; i < 8 && i < bytes; i++)
        if (data[i] != magic[i])
            return EKD_CORRUPT;
    if (bytes < 32)
        return EKD_TRUNCATED;
    if (ekd__u16(data + 8) != 1)
        return EKD_VERSION;
    file->data = data;
    file->bytes = bytes;
    file->features = ekd__u32(data + 12);
    if (file->features & ~(uint32_t)3)
        return EKD_VERSION;
    file_bytes = ekd__u64(data + 16);
    if (file_bytes > bytes)
        return EKD_TRUNCATED;
    if (file_bytes < bytes)
        return EKD_CORRUPT;
    file->tensor_count = ekd__u32(data + 24);
    sections = ekd__u32(data + 28);
    if (sections > 16)
        return EKD_LIMIT;
    if (sections < 5)
        return EKD_CORRUPT;
    begin = 40 + 24 * (size_t)sections;
    if (begin + EKD__SHA256_BYTES > bytes)
        return EKD_TRUNCATED;
    EKD__TRY(ekd__check_crc(data, begin - 8, ekd__u32(data + begin - 8)));
    EKD__TRY(ekd__check_zeros(data, begin - 4, begin));
    EKD__TRY(ekd__open_sections(file, sections));
    if (file->tensor_count > 1000000)
        return EKD_LIMIT;
    EKD__TRY(ekd__check_sections(file, sections));
    return ekd__check_records(file);
}

/* Chapter 3: tensor records. */

static size_t ekd__type_bytes(unsigned type) {
    static const uint8_t bytes[] = {1, 4, 2, 2, 8, 1, 1, 4, 8};
    return bytes[type];
}

size_t ekd_stored_bytes(const ekd_tensor *tensor) {
    return ekd__type_bytes(tensor->stored);
}

size_t ekd_restored_bytes(const ekd_tensor *tensor) {
    return ekd__type_bytes(tensor->restored);
}

static int ekd__is_coded(const ekd_tensor *tensor) {
    return tensor->mode >= EKD_DIRECT;
}

static int ekd__is_sparse(const ekd_tensor *tensor) {
    return tensor->mode == EKD_GAP || tensor->mode == EKD_MASK;
}

/* Which types go together, 3.2. */
static ekd_result ekd__check_types(const ekd_tensor *tensor) {
    unsigned restored = tensor->restored, stored = tensor->stored;
    int scaled = tensor->scale_kind || tensor->has_codebook;
    int is_float = restored >= EKD_TYPE_F32 && restored <= EKD_TYPE_F64;
    int is_small = restored == EKD_TYPE_I8 || restored == EKD_TYPE_U8;
    if (restored == EKD_TYPE_CODE)
        return EKD_CORRUPT;
    if (stored == EKD_TYPE_CODE)
        return (scaled ? is_float : is_small) ? EKD_OK : EKD_CORRUPT;
    if (stored == EKD_TYPE_I8 || stored == EKD_TYPE_U8 || scaled)
        return EKD_CORRUPT;
    if (stored == restored)
        return EKD_OK;
    return stored == EKD_TYPE_F16 && restored == EKD_TYPE_F32 ? EKD_OK : EKD_CORRUPT;
}

/* Which coder and streams each mode takes, 3.1. */
static ekd_result ekd__check_coding(const ekd_file *file, const ekd_tensor *tensor) {
    if (!ekd__is_coded(tensor))
        return tensor->coder || tensor->streams != 1 ? EKD_CORRUPT : EKD_OK;
    if (tensor->stored != EKD_TYPE_CODE)
        return EKD_CORRUPT;
    if (tensor->mode == EKD_TRELLIS &&
        (!(file->features & 2) || !tensor->scale_kind || tensor->has_codebook))
        return EKD_CORRUPT;
    if (!tensor->coder)
        return EKD_OK;
    return (file->features & 1) && tensor->streams == 1 ? EKD_OK : EKD_CORRUPT;
}

static ekd_result ekd__read_bytes_fields(const ekd_file *file, ekd__cursor *body,
                                         ekd_tensor *tensor) {
    uint8_t coding, types, scaling, layout;
    EKD__TRY(ekd__byte(body, &coding));
    EKD__TRY(ekd__byte(body, &types));
    EKD__TRY(ekd__byte(body, &scaling));
    EKD__TRY(ekd__byte(body, &layout));
    tensor->mode = coding & 15;
    tensor->coder = coding >> 4;
    tensor->restored = types & 15;
    tensor->stored = types >> 4;
    tensor->scale_kind = scaling & 3;
    tensor->has_codebook = scaling >> 2 & 1;
    tensor->half_scales = scaling >> 3 & 1;
    tensor->half_codebook = scaling >> 4 & 1;
    tensor->rank = layout & 15;
    if (tensor->mode > EKD_TRELLIS || tensor->coder > 1)
        return EKD_CORRUPT;
    if (tensor->restored > EKD_TYPE_I64 || tensor->stored > EKD_TYPE_I64)
        return EKD_CORRUPT;
    if (tensor->rank > 8)
        return EKD_LIMIT;
    if (layout >> 4 > 2)
        return EKD_CORRUPT;
    tensor->streams = layout >> 4 == 0 ? 1 : layout >> 4 == 1 ? 4 : 8;
    if (scaling >> 5)
        return EKD_CORRUPT;
    if (tensor->half_scales && !tensor->scale_kind)
        return EKD_CORRUPT;
    if (tensor->half_codebook && !tensor->has_codebook)
        return EKD_CORRUPT;
    EKD__TRY(ekd__check_types(tensor));
    EKD__TRY(ekd__check_coding(file, tensor));
    EKD__TRY(ekd__byte(body, &tensor->chunk_log2));
    if (tensor->chunk_log2 < 8)
        return EKD_CORRUPT;
    return tensor->chunk_log2 > 20 ? EKD_LIMIT : EKD_OK;
}

static ekd_result ekd__read_shape(ekd__cursor *body, ekd_tensor *tensor) {
    uint64_t product = 1;
    int is_empty = 0;
    unsigned i;
    for (i = 0; i < tensor->rank; i++)
        EKD__TRY(ekd__varint(body, &tensor->dims[i]));
    for (i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i])
            product *= tensor->dims[i];
        else
            is_empty = 1;
        if (product >> 32)
            return EKD_LIMIT;
    }
    tensor->elements = is_empty ? 0 : (uint32_t)product;
    return is_empty && tensor->mode != EKD_RAW ? EKD_CORRUPT : EKD_OK;
}

/* `count` numbers in f16 or f32, which must be finite: no exponent of ones. */
static ekd_result ekd__read_halves(ekd__cursor *body, size_t count, int is_half, size_t *at) {
    size_t i, width = is_half ? 2 : 4;
    if (count > (body->end - body->at) / width)
        return EKD_TRUNCATED;
    EKD__TRY(ekd__skip(body, count * width, at));
    for (i = 0; i < count; i++) {
        const uint8_t *p = body->data + *at + i * width;
        uint32_t exponent = is_half ? (uint32_t)p[1] << 1 & 0xF8u : ekd__u16(p + 2) << 1 & 0xFF00u;
        if (exponent == (is_half ? 0xF8u : 0xFF00u))
            return EKD_CORRUPT;
    }
    return EKD_OK;
}

static ekd_result ekd__read_scales(ekd__cursor *body, ekd_tensor *tensor) {
    uint32_t channels, skipped, i;
    uint64_t channel = 0;
    size_t at;
    if (tensor->scale_kind >= 2 || tensor->mode == EKD_TRELLIS) {
        EKD__TRY(ekd__varint(body, &tensor->axis));
        if (tensor->axis >= tensor->rank)
            return EKD_CORRUPT;
    }
    if (tensor->scale_kind == 0)
        return EKD_OK;
    if (tensor->scale_kind == 1)
        return ekd__read_halves(body, 1, tensor->half_scales, &tensor->scales_at);
    channels = tensor->dims[tensor->axis];
    if (tensor->scale_kind == 2)
        return ekd__read_halves(body, channels, tensor->half_scales, &tensor->scales_at);
    if (!tensor->elements)
        return EKD_CORRUPT;
    EKD__TRY(ekd__read_halves(body, 1, tensor->half_scales, &tensor->scales_at));
    EKD__TRY(ekd__varint(body, &tensor->exceptions));
    if (!tensor->exceptions || tensor->exceptions > channels)
        return EKD_CORRUPT;
    for (i = 0; i < tensor->exceptions; i++) {
        EKD__TRY(ekd__varint(body, &skipped));
        channel += skipped;
        if (channel++ >= channels)
            return EKD_CORRUPT;
        EKD__TRY(ekd__read_halves(body, 1, tensor->half_scales, &at));
    }
    return EKD_OK;
}

static ekd_result ekd__read_codebook(ekd__cursor *body, ekd_tensor *tensor) {
    const uint8_t *first;
    uint8_t last, bits = 0;
    unsigned i;
    if (!tensor->has_codebook)
        return EKD_OK;
    EKD__TRY(ekd__byte(body, &last));
    tensor->codebook_count = (uint32_t)last + 1;
    EKD__TRY(ekd__read_halves(body, tensor->codebook_count, tensor->half_codebook,
                              &tensor->codebook_at));
    first = body->data + tensor->codebook_at;
    for (i = 0; i < (tensor->half_codebook ? 2u : 4u); i++)
        bits |= first[i];
    return ekd__is_sparse(tensor) && bits ? EKD_CORRUPT : EKD_OK;
}

/* Chapter 4.3: one level (code length or frequency class) for each of 256 symbols. */

static ekd_result ekd__nibble(ekd__cursor *body, unsigned *state, unsigned *nibble) {
    uint8_t byte;
    if (*state >= 16) { /* a high nibble is waiting */
        *nibble = *state & 15;
        *state = 0;
        return EKD_OK;
    }
    EKD__TRY(ekd__byte(body, &byte));
    *nibble = byte & 15;
    *state = 16u | byte >> 4;
    return EKD_OK;
}

static ekd_result ekd__read_levels(ekd__cursor *body, uint8_t levels[256]) {
    unsigned symbol = 0, count, nibble, more, level, run, state = 0;
    uint8_t last;
    EKD__TRY(ekd__byte(body, &last));
    count = (unsigned)last + 1;
    while (symbol < count) {
        EKD__TRY(ekd__nibble(body, &state, &nibble));
        level = nibble, run = 1;
        if (nibble > 12) {
            EKD__TRY(ekd__nibble(body, &state, &run));
            run += 3;
            level = 0;
            if (nibble == 13) {
                if (!symbol)
                    return EKD_CORRUPT;
                level = levels[symbol - 1];
            } else if (nibble == 15) {
                EKD__TRY(ekd__nibble(body, &state, &more));
                run += 16 * more + 16;
            }
        }
        if (run > count - symbol)
            return EKD_CORRUPT;
        while (run--)
            levels[symbol++] = (uint8_t)level;
    }
    if (!levels[last] || (state & 15))
        return EKD_CORRUPT;
    for (; symbol < 256; symbol++)
        levels[symbol] = 0;
    return EKD_OK;
}

/* Kraft's sum must be whole, but for a symbol that is alone. */
static ekd_result ekd__check_lengths(const uint8_t levels[256]) {
    uint32_t kraft = 0, symbols = 0, i;
    for (i = 0; i < 256; i++) {
        if (!levels[i])
            continue;
        symbols++;
        kraft += 1u << (EKD__LONGEST - levels[i]);
    }
    return kraft == (symbols == 1 ? 2048u : 4096u) ? EKD_OK : EKD_CORRUPT;
}

#ifndef EKD_NO_RANS
/* Chapter 4.6: frequencies from classes and the bits behind them. */
static ekd_result ekd__read_frequencies(ekd__cursor *body, const uint8_t levels[256],
                                        uint16_t frequencies[256]) {
    uint32_t bits = 0, sum = 0, used = 0, i, single = 0;
    unsigned count = 0;
    uint8_t byte;
    for (i = 0; i < 256; i++)
        if (levels[i])
            used++, single = i;
    for (i = 0; i < 256; i++) {
        unsigned width = levels[i] ? levels[i] - 1u : 0;
        frequencies[i] = 0;
        if (!levels[i])
            continue;
        if (used == 1)
            continue;
        for (; count < width; count += 8) {
            EKD__TRY(ekd__byte(body, &byte));
            bits |= (uint32_t)byte << count;
        }
        frequencies[i] = (uint16_t)((1u << width) + (bits & ((1u << width) - 1)));
        bits >>= width;
        count -= width;
        sum += frequencies[i];
    }
    if (used == 1) {
        frequencies[single] = 4096;
        return levels[single] == 1 ? EKD_OK : EKD_CORRUPT;
    }
    return bits || sum != 4096 ? EKD_CORRUPT : EKD_OK;
}
#endif

static ekd_result ekd__skip_table(ekd__cursor *body, const ekd_tensor *tensor, int is_value) {
    uint8_t levels[256];
    EKD__TRY(ekd__read_levels(body, levels));
    if (!tensor->coder) {
        EKD__TRY(ekd__check_lengths(levels));
    } else {
#ifdef EKD_NO_RANS
        return EKD_UNSUPPORTED;
#else
        uint16_t frequencies[256];
        EKD__TRY(ekd__read_frequencies(body, levels, frequencies));
#endif
    }
    return is_value && ekd__is_sparse(tensor) && levels[0] ? EKD_CORRUPT : EKD_OK;
}

/* Chapter 3.4: one entry of the chunk index. Streams' sizes add up to at most the chunk's. */
static ekd_result ekd__read_chunk(ekd__cursor *body, const ekd_tensor *tensor, ekd_chunk *chunk) {
    uint32_t sizes, size, i;
    uint64_t sum = 0;
    size_t at;
    EKD__TRY(ekd__varint(body, &chunk->bytes));
    EKD__TRY(ekd__skip(body, 4, &at));
    chunk->crc32c = ekd__u32(body->data + at);
    chunk->value_count = chunk->position_count = 0;
    chunk->sizes_at = body->at;
    if (!ekd__is_coded(tensor))
        return chunk->bytes == chunk->elements * (uint64_t)ekd_stored_bytes(tensor) ? EKD_OK
                                                                                    : EKD_CORRUPT;
    if (ekd__is_sparse(tensor)) {
        EKD__TRY(ekd__varint(body, &chunk->value_count));
        if (chunk->value_count > chunk->elements)
            return EKD_CORRUPT;
        chunk->position_count = (chunk->elements + 7) / 8;
    }
    if (tensor->mode == EKD_GAP) {
        EKD__TRY(ekd__varint(body, &chunk->position_count));
        if (chunk->position_count < chunk->value_count ||
            chunk->position_count - chunk->value_count >
                (chunk->elements - chunk->value_count) / 255)
            return EKD_CORRUPT;
    }
    chunk->sizes_at = body->at;
    sizes = (ekd__is_sparse(tensor) ? 2u : 1u) * tensor->streams - 1;
    for (i = 0; i < sizes; i++) {
        EKD__TRY(ekd__varint(body, &size));
        sum += size;
    }
    return sum > chunk->bytes ? EKD_CORRUPT : EKD_OK;
}

static uint32_t ekd__chunk_elements(const ekd_tensor *tensor, uint32_t first) {
    uint32_t left = tensor->elements - first, whole = (uint32_t)1 << tensor->chunk_log2;
    return left < whole ? left : whole;
}

static ekd_result ekd__read_chunks(const ekd_file *file, ekd__cursor *body, ekd_tensor *tensor) {
    uint64_t first = 0, room = file->payload_at + file->payload_bytes - tensor->payload_at;
    ekd_chunk chunk;
    tensor->index_at = body->at;
    if (tensor->mode == EKD_CONSTANT)
        return EKD_OK;
    for (; first < tensor->elements; first += chunk.elements) {
        chunk.elements = ekd__chunk_elements(tensor, (uint32_t)first);
        EKD__TRY(ekd__read_chunk(body, tensor, &chunk));
        if (chunk.bytes > room - tensor->payload_bytes)
            return EKD_TRUNCATED;
        tensor->payload_bytes += chunk.bytes;
    }
    return EKD_OK;
}

/* The record at offset `at`, whose chunks begin at `payload_at`. */
static ekd_result ekd__read_record(const ekd_file *file, size_t at, size_t payload_at,
                                   uint32_t index, ekd_tensor *tensor) {
    ekd__cursor body, section;
    uint32_t record_bytes;
    section.data = file->data;
    section.at = at;
    section.end = file->tensors_at + file->tensors_bytes;
    EKD__TRY(ekd__varint(&section, &record_bytes));
    body.data = file->data;
    EKD__TRY(ekd__skip(&section, record_bytes, &body.at));
    body.end = section.at;
    tensor->index = index;
    tensor->axis = tensor->exceptions = tensor->codebook_count = 0;
    tensor->scales_at = tensor->codebook_at = tensor->constant_at = 0;
    tensor->payload_at = payload_at;
    tensor->payload_bytes = 0;
    tensor->next_at = section.at;
    EKD__TRY(ekd__read_bytes_fields(file, &body, tensor));
    EKD__TRY(ekd__read_shape(&body, tensor));
    EKD__TRY(ekd__read_scales(&body, tensor));
    EKD__TRY(ekd__read_codebook(&body, tensor));
    if (tensor->mode == EKD_CONSTANT) {
        if (tensor->elements > (uint32_t)1 << 24)
            return EKD_LIMIT;
        EKD__TRY(ekd__skip(&body, ekd_stored_bytes(tensor), &tensor->constant_at));
    }
    tensor->values_at = tensor->positions_at = body.at;
    if (ekd__is_coded(tensor))
        EKD__TRY(ekd__skip_table(&body, tensor, 1));
    tensor->positions_at = body.at;
    if (ekd__is_sparse(tensor))
        EKD__TRY(ekd__skip_table(&body, tensor, 0));
    EKD__TRY(ekd__read_chunks(file, &body, tensor));
    return body.at == body.end ? EKD_OK : EKD_CORRUPT;
}

ekd_result ekd_first(const ekd_file *file, ekd_tensor *tensor) {
    if (!file->tensor_count)
        return EKD_END;
    return ekd__read_record(file, file->tensors_at, file->payload_at, 0, tensor);
}

ekd_result ekd_next(const ekd_file *file, ekd_tensor *tensor) {
    if (tensor->index + 1 >= file->tensor_count)
        return EKD_END;
    return ekd__read_record(file, tensor->next_at, tensor->payload_at + tensor->payload_bytes,
                            tensor->index + 1, tensor);
}

ekd_result ekd_find(const ekd_file *file, uint32_t index, ekd_tensor *tensor) {
    ekd_result result = ekd_first(file, tensor);
    while (result == EKD_OK && tensor->index != index)
        result = ekd_next(file, tensor);
    return result;
}

static ekd_result ekd__check_records(const ekd_file *file) {
    size_t at = file->tensors_at, payload_at = file->payload_at;
    ekd_tensor tensor;
    ekd_result result = ekd_first(file, &tensor);
    for (; result == EKD_OK; result = ekd_next(file, &tensor)) {
        at = tensor.next_at;
        payload_at = tensor.payload_at + tensor.payload_bytes;
    }
    if (result != EKD_END)
        return result;
    if (at != file->tensors_at + file->tensors_bytes)
        return EKD_CORRUPT;
    return payload_at == file->payload_at + file->payload_bytes ? EKD_OK : EKD_CORRUPT;
}

ekd_result ekd_first_chunk(const ekd_file *file, const ekd_tensor *tensor, ekd_chunk *chunk) {
    chunk->first = chunk->elements = chunk->bytes = 0;
    chunk->data_at = tensor->payload_at;
    chunk->next_at = tensor->index_at;
    return ekd_next_chunk(file, tensor, chunk);
}

ekd_result ekd_next_chunk(const ekd_file *file, const ekd_tensor *tensor, ekd_chunk *chunk) {
    ekd__cursor body;
    body.data = file->data;
    body.at = chunk->next_at;
    body.end = tensor->next_at;
    chunk->data_at += chunk->bytes;
    chunk->first += chunk->elements;
    if (tensor->mode == EKD_CONSTANT || chunk->first >= tensor->elements)
        return EKD_END;
    chunk->elements = ekd__chunk_elements(tensor, chunk->first);
    EKD__TRY(ekd__read_chunk(&body, tensor, chunk));
    chunk->next_at = body.at;
    return EKD_OK;
}

/* Chapter 4.4: codes and their tables in work memory. */

#ifndef EKD_NO_FLOAT
static void ekd__fill_weights(ekd_decoder *decoder);
static void ekd__rewind_scales(const ekd_file *file, const ekd_tensor *tensor, ekd__scales *scales);
#endif

static unsigned ekd__reversed(unsigned code, unsigned length) {
    unsigned flipped = 0;
    for (; length; length--, code >>= 1)
        flipped = flipped << 1 | (code & 1);
    return flipped;
}

static void ekd__fill_entries(ekd__code *code, const uint8_t levels[256]) {
    unsigned next[14], place[14], length, symbol, index, size = 1u << code->bits;
    next[1] = place[1] = 0;
    for (length = 1; length < 13; length++) {
        next[length + 1] = (next[length] + code->counts[length]) << 1;
        place[length + 1] = place[length] + code->counts[length];
    }
    for (index = 0; index < size; index++)
        code->entries[index] = 0;
    for (symbol = 0; symbol < 256; symbol++) {
        length = levels[symbol];
        if (!length)
            continue;
        index = ekd__reversed(next[length]++, length);
        if (code->symbols)
            code->symbols[place[length]++] = (uint8_t)symbol;
        if (length > code->bits)
            continue;
        for (; index < size; index += 1u << length)
            code->entries[index] = (uint16_t)(symbol | length << 8);
    }
    if (code->is_single) { /* the other bit is refused at the stream's end */
        code->entries[1] = code->entries[0];
    }
}

#ifndef EKD_NO_FAST
/* Follow the entries from each value of the next bits until they no longer hold a whole code. No
   code is longer than these bits, so that each value holds one at least. */
static void ekd__fill_fast(ekd__code *code) {
    unsigned index, size = 1u << EKD__LONGEST;
    for (index = 0; index < size; index++) {
        uint64_t entry = 0;
        unsigned used = 0, count = 0;
        while (count < 6) {
            unsigned one = code->entries[index >> used], length = one >> 8;
            if (used + length > EKD__LONGEST)
                break;
            entry |= (uint64_t)(one & 255) << 8 * count;
            used += length;
            count++;
        }
        code->fast[index] = entry | (uint64_t)used << 48 | (uint64_t)count << 56;
    }
}
#endif

#ifndef EKD_NO_FAST
/* Bits that a symbol takes where symbols are as frequent as their lengths say, times 4096. */
static uint32_t ekd__mean_bits(const ekd__code *code) {
    uint32_t sum = 0, length;
    for (length = 1; length <= EKD__LONGEST; length++)
        sum += length * ((uint32_t)code->counts[length] << (EKD__LONGEST - length));
    return sum;
}
#endif

/* The Huffman code stored at `at`, its tables in `table`. */
static ekd_result ekd__load_code(const ekd_file *file, const ekd_tensor *tensor, size_t at,
                                 uint8_t *table, size_t table_bytes, ekd__code *code) {
    uint8_t levels[256];
    ekd__cursor body;
    unsigned i, used = 0;
    body.data = file->data;
    body.at = at;
    body.end = tensor->next_at;
    EKD__TRY(ekd__read_levels(&body, levels));
    for (i = 0; i < 13; i++)
        code->counts[i] = 0;
    code->longest = 0;
    for (i = 0; i < 256; i++) {
        if (!levels[i])
            continue;
        used++;
        code->counts[levels[i]]++;
        code->last = (uint8_t)i;
        if (levels[i] > code->longest)
            code->longest = levels[i];
    }
    code->is_single = used == 1;
    code->entries = (uint16_t *)(void *)table;
    code->symbols = 0;
    code->fast = 0;
    code->bits = code->longest;
    if ((size_t)2 << code->bits > table_bytes) { /* 12 bits in the least memory */
        code->bits = 10;
        code->symbols = table + 2048;
    }
#ifndef EKD_NO_FAST
    /* Entries of several symbols pay where several fit, and where many symbols are decoded; a
       sparse tensor's sequences hold a part of its elements. */
    if (table_bytes >= EKD__FAST_TABLES && !((uintptr_t)table & 7) && !code->is_single &&
        tensor->elements >> (ekd__is_sparse(tensor) ? 2 : 0) >= EKD_FAST_ELEMENTS &&
        ekd__mean_bits(code) <= EKD__FAST_MEAN_BITS * 4096u) {
        code->bits = EKD__LONGEST;
        code->fast = (uint64_t *)(void *)(table + 8192);
    }
#endif
    ekd__fill_entries(code, levels);
#ifndef EKD_NO_FAST
    if (code->fast)
        ekd__fill_fast(code);
#endif
    return EKD_OK;
}

static ekd_result ekd__load_values(ekd_decoder *decoder) {
    return ekd__load_code(decoder->file, decoder->tensor, decoder->tensor->values_at,
                          decoder->table, decoder->table_bytes, &decoder->values);
}

static ekd_result ekd__load_positions(ekd_decoder *decoder) {
    return ekd__load_code(decoder->file, decoder->tensor, decoder->tensor->positions_at,
                          decoder->table + (decoder->room ? EKD__FAST_TABLES : 0),
                          decoder->table_bytes, &decoder->positions);
}

/* A code longer than the entries' bits: canonical search from the shortest code up. */
static unsigned ekd__search(const ekd__code *code, uint64_t bits) {
    unsigned value = 0, first = 0, index = 0, length;
    for (length = 1; length < 13; length++) {
        unsigned count = code->counts[length];
        value |= (unsigned)bits & 1;
        bits >>= 1;
        if (value < first + count)
            return code->symbols[index + value - first] | length << 8;
        index += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    return 0; /* a complete code has found its symbol */
}

/* Chapter 4.1: one stream of symbols. */
typedef struct {
    const uint8_t *start, *next, *end;
    uint64_t bits;
    unsigned held;       /* bits in `bits` */
    size_t beyond;       /* bits, all 0, that were taken from behind the stream's end */
    size_t taken;        /* bits in all, as far as several streams are decoded in turns */
    uint8_t *out, *stop; /* of its symbols */
} ekd__stream;

static void ekd__seek(ekd__stream *stream, size_t position) {
    size_t bits = (size_t)(stream->end - stream->start) * 8;
    stream->beyond = position > bits ? position - bits : 0;
    if (position > bits)
        position = bits;
    stream->next = stream->start + position / 8;
    stream->bits = 0;
    stream->held = 0;
    if (position % 8) {
        stream->bits = (uint64_t)(*stream->next++ >> position % 8);
        stream->held = (unsigned)(8 - position % 8);
    }
}

static unsigned ekd__symbol(const ekd__code *code, ekd__stream *stream) {
    unsigned entry;
    while (stream->held < 12) {
        if (stream->next < stream->end)
            stream->bits |= (uint64_t)*stream->next++ << stream->held;
        else
            stream->beyond += 8;
        stream->held += 8;
    }
    entry = code->entries[stream->bits & ((1u << code->bits) - 1)];
    if (!entry)
        entry = ekd__search(code, stream->bits);
    stream->bits >>= entry >> 8;
    stream->held -= entry >> 8;
    return entry & 255;
}

/* Chapter 4.5: fewer than 8 bits are left, and these are 0. */
static ekd_result ekd__check_end(const ekd__code *code, const ekd__stream *stream) {
    size_t bytes = (size_t)(stream->end - stream->start), i;
    size_t used = (size_t)(stream->next - stream->start) * 8 + stream->beyond - stream->held;
    if (used > bytes * 8)
        return EKD_TRUNCATED;
    if (bytes * 8 - used > 7)
        return EKD_CORRUPT;
    if (used % 8 && stream->end[-1] >> used % 8)
        return EKD_CORRUPT;
    for (i = 0; code->is_single && i < bytes; i++)
        if (stream->start[i])
            return EKD_CORRUPT;
    return EKD_OK;
}

#ifndef EKD_NO_FAST
static void ekd__store64(uint8_t *out, uint64_t value) {
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
    out[4] = (uint8_t)(value >> 32);
    out[5] = (uint8_t)(value >> 40);
    out[6] = (uint8_t)(value >> 48);
    out[7] = (uint8_t)(value >> 56);
}

/* Four or eight streams in turns keep the processor busy while each waits for its table. `n`
   numbers the local variables of a stream: the bits that are loaded, and `place##n`, its next
   symbol's place in `out` times 256 plus the bits taken since `next##n`. One sum moves both, so
   that what four streams need most fits into 16 registers. A refill leaves at least 57 bits: four
   codes of 12, or five of 11. */
#define EKD__FOUR(step) step(0) step(1) step(2) step(3)
#define EKD__EIGHT(step) EKD__FOUR(step) step(4) step(5) step(6) step(7)
#define EKD__OPEN(n)                                                                               \
    const uint8_t *next##n = streams[n].start + streams[n].taken / 8;                              \
    size_t place##n = (size_t)(streams[n].out - out) << 8 | (streams[n].taken & 7);                \
    const size_t stop##n = (size_t)(streams[n].stop - out);                                        \
    uint64_t bits##n, entry##n;
#define EKD__REFILL(n)                                                                             \
    next##n += (place##n & 255) >> 3;                                                              \
    bits##n = ekd__u64(next##n) >> (place##n & 7);                                                 \
    place##n &= ~(size_t)0xF8;
#define EKD__SIX(n)                                                                                \
    entry##n = fast[bits##n & ((1u << EKD__LONGEST) - 1)];                                         \
    ekd__store64(out + (place##n >> 8), entry##n);                                                 \
    entry##n >>= 48;                                                                               \
    bits##n >>= entry##n & 63;                                                                     \
    place##n += (size_t)entry##n;
#define EKD__ONE(n, i)                                                                             \
    entry##n = entries[bits##n & mask];                                                            \
    out[(place##n >> 8) + (i)] = (uint8_t)entry##n;                                                \
    entry##n >>= 8;                                                                                \
    bits##n >>= entry##n & 63;                                                                     \
    place##n += (size_t)entry##n;
#define EKD__FIRST(n) EKD__ONE(n, 0)
#define EKD__SECOND(n) EKD__ONE(n, 1)
#define EKD__THIRD(n) EKD__ONE(n, 2)
#define EKD__FOURTH(n) EKD__ONE(n, 3)
#define EKD__FIFTH(n) EKD__ONE(n, 4) place##n += 1 << 8;
#define EKD__ADVANCE(n) place##n += 4 << 8;
/* Rounds that surely stay inside: each writes at most `room` bytes and reads on by at most 8. */
#define EKD__ROUNDS(n)                                                                             \
    count = (stop##n - (place##n >> 8)) / room;                                                    \
    rounds = count < rounds ? count : rounds;                                                      \
    count = next##n < safe ? (size_t)(safe - next##n) / 8 : 0;                                     \
    rounds = count < rounds ? count : rounds;
#define EKD__CLOSE(n)                                                                              \
    streams[n].taken = (size_t)(next##n - streams[n].start) * 8 + (place##n & 255);                \
    streams[n].out = out + (place##n >> 8);
#define EKD__RUN(each, round)                                                                      \
    each(EKD__OPEN) for (;;) {                                                                     \
        rounds = (size_t)-1;                                                                       \
        each(EKD__ROUNDS) if (rounds == 0) break;                                                  \
        for (; rounds; rounds--) {                                                                 \
            round(each)                                                                            \
        }                                                                                          \
    }                                                                                              \
    each(EKD__CLOSE)
#define EKD__SEVERAL(each)                                                                         \
    each(EKD__REFILL) each(EKD__SIX) each(EKD__SIX) each(EKD__SIX) each(EKD__SIX)
#define EKD__SHORT(each) each(EKD__REFILL) each(EKD__SIX)
#define EKD__SINGLE(each)                                                                          \
    each(EKD__REFILL) each(EKD__FIRST) each(EKD__SECOND) each(EKD__THIRD)                          \
        each(EKD__FOURTH) if (code->longest <= 11){each(EKD__FIFTH)} each(EKD__ADVANCE)

/* As many symbols of each stream as is surely inside. `safe` is the last place in the file at which
   eight bytes can be loaded. */
#define EKD__DECODE(name, each, round, bytes)                                                      \
    static void name(const ekd__code *code, ekd__stream *streams, uint8_t *out,                    \
                     const uint8_t *safe) {                                                        \
        const uint64_t *fast = code->fast;                                                         \
        const uint16_t *entries = code->entries;                                                   \
        const uint64_t mask = (1u << code->bits) - 1;                                              \
        const size_t room = bytes;                                                                 \
        size_t rounds, count;                                                                      \
        EKD__RUN(each, round)                                                                      \
        (void)fast, (void)entries, (void)mask;                                                     \
    }
EKD__DECODE(ekd__several_of_four, EKD__FOUR, EKD__SEVERAL, 26)
EKD__DECODE(ekd__short_of_four, EKD__FOUR, EKD__SHORT, 8)
EKD__DECODE(ekd__single_of_four, EKD__FOUR, EKD__SINGLE, 5)
#ifndef EKD_NO_EIGHT
EKD__DECODE(ekd__several_of_eight, EKD__EIGHT, EKD__SEVERAL, 26) /* three times six, and a store */
EKD__DECODE(ekd__single_of_eight, EKD__EIGHT, EKD__SINGLE, 5)
#endif

/* Most symbols of four or eight streams. */
static void ekd__decode_streams(const ekd__code *code, ekd__stream *streams, uint32_t count,
                                uint8_t *out, const uint8_t *safe) {
    uint32_t i;
#ifndef EKD_NO_EIGHT
    if (count == 8)
        (code->fast ? ekd__several_of_eight : ekd__single_of_eight)(code, streams, out, safe);
#endif
    for (i = 0; i + 4 <= count; i += 4) {
        if (code->fast) {
            ekd__several_of_four(code, streams + i, out, safe);
            ekd__short_of_four(code, streams + i, out, safe);
        } else {
            ekd__single_of_four(code, streams + i, out, safe);
        }
    }
    for (i = 0; i < count; i++)
        ekd__seek(&streams[i], streams[i].taken);
}
#endif

/* Chapter 4.1: the segments of a sequence, with their streams' sizes from the chunk index. */
typedef struct {
    ekd__cursor sizes;
    const uint8_t *data; /* first byte that no stream has taken */
    const uint8_t *end;  /* of the chunk */
    uint32_t untold;     /* sizes that the index still gives; the chunk's last stream has none */
} ekd__streams;

static void ekd__open_streams(const ekd_file *file, const ekd_tensor *tensor,
                              const ekd_chunk *chunk, ekd__streams *all) {
    all->sizes.data = file->data;
    all->sizes.at = chunk->sizes_at;
    all->sizes.end = tensor->next_at;
    all->data = file->data + chunk->data_at;
    all->end = all->data + chunk->bytes;
    all->untold = (ekd__is_sparse(tensor) ? 2u : 1u) * tensor->streams - 1;
}

static ekd_result ekd__next_stream(ekd__streams *all, ekd__stream *stream) {
    uint32_t size = (uint32_t)(all->end - all->data);
    if (all->untold) {
        EKD__TRY(ekd__varint(&all->sizes, &size));
        all->untold--;
    }
    if (size > (size_t)(all->end - all->data))
        return EKD_CORRUPT;
    stream->start = all->data;
    stream->end = all->data += size;
    stream->taken = 0;
    ekd__seek(stream, 0);
    return EKD_OK;
}

/* A symbol takes a bit at least. */
static ekd_result ekd__check_symbols(const ekd__stream *stream, uint32_t symbols) {
    return symbols > (uint64_t)(stream->end - stream->start) * 8 ? EKD_TRUNCATED : EKD_OK;
}

static uint32_t ekd__segment(uint32_t symbols, uint32_t streams, uint32_t stream) {
    uint32_t longest = symbols / streams + (symbols % streams != 0);
    uint64_t before = (uint64_t)longest * stream;
    if (before >= symbols)
        return 0;
    return symbols - before < longest ? (uint32_t)(symbols - before) : longest;
}

/* A sequence's streams, of which each takes its segment of `out`. */
static ekd_result ekd__open_segments(ekd__streams *all, uint32_t streams, uint32_t symbols,
                                     uint8_t *out, ekd__stream *opened) {
    uint32_t i, count;
    for (i = 0; i < streams; i++, out += count) {
        count = ekd__segment(symbols, streams, i);
        EKD__TRY(ekd__next_stream(all, &opened[i]));
        EKD__TRY(ekd__check_symbols(&opened[i], count));
        opened[i].out = out;
        opened[i].stop = out + count;
    }
    return EKD_OK;
}

/* What is left of open streams, symbol by symbol. */
static ekd_result ekd__finish(const ekd__code *code, ekd__stream *opened, uint32_t streams) {
    uint32_t i;
    for (i = 0; i < streams; i++) {
        while (opened[i].out < opened[i].stop)
            *opened[i].out++ = (uint8_t)ekd__symbol(code, &opened[i]);
        EKD__TRY(ekd__check_end(code, &opened[i]));
    }
    return EKD_OK;
}

/* A sequence of Huffman-coded symbols into `out`. */
static ekd_result ekd__huffman(const ekd_file *file, const ekd__code *code, ekd__streams *all,
                               uint32_t streams, uint32_t symbols, uint8_t *out) {
    ekd__stream opened[8];
    EKD__TRY(ekd__open_segments(all, streams, symbols, out, opened));
#ifndef EKD_NO_FAST
    if (streams >= 4 && !code->symbols)
        ekd__decode_streams(code, opened, streams, out, file->data + file->bytes - 8);
#endif
    (void)file;
    return ekd__finish(code, opened, streams);
}

/* Chapter 4.2: gap symbols or mask bytes that spread values, which lie at the end of `out`,
   forward over it. What is written never passes what is still to be read, because behind each
   place there is room for all values that are left. */
typedef struct {
    uint8_t *out;
    uint32_t place, elements, values; /* values that are left */
    int is_mask;
} ekd__spread;

static void ekd__open_spread(const ekd_tensor *tensor, const ekd_chunk *chunk, uint8_t *out,
                             ekd__spread *spread) {
    spread->out = out;
    spread->place = 0;
    spread->elements = chunk->elements;
    spread->values = chunk->value_count;
    spread->is_mask = tensor->mode == EKD_MASK;
}

static ekd_result ekd__spread_symbol(ekd__spread *spread, unsigned symbol) {
    uint8_t *out = spread->out;
    uint32_t end = spread->elements, bit;
    if (spread->is_mask) {
        for (bit = 0; bit < 8; bit++, symbol >>= 1) {
            if (spread->place == end)
                return symbol ? EKD_CORRUPT : EKD_OK;
            if (symbol & 1) {
                if (!spread->values)
                    return EKD_CORRUPT;
                out[spread->place++] = out[end - spread->values--];
            } else {
                if (end - spread->place <= spread->values)
                    return EKD_CORRUPT;
                out[spread->place++] = 0;
            }
        }
        return EKD_OK;
    }
    if (symbol > end - spread->place)
        return EKD_CORRUPT;
    if (end - spread->place - symbol < spread->values)
        return EKD_CORRUPT;
    for (bit = symbol; bit; bit--)
        out[spread->place++] = 0;
    if (symbol == 255)
        return spread->values ? EKD_OK : EKD_CORRUPT;
    if (!spread->values)
        return EKD_CORRUPT;
    out[spread->place++] = out[end - spread->values--];
    return EKD_OK;
}

static ekd_result ekd__spread_end(ekd__spread *spread) {
    if (spread->values)
        return EKD_CORRUPT;
    while (spread->place < spread->elements)
        spread->out[spread->place++] = 0;
    return EKD_OK;
}

#ifndef EKD_NO_RANS
/* Chapter 4.6. starts: 257 sums of frequencies; slots: the symbol of each slot, or null. */
typedef struct {
    uint16_t *starts;
    uint8_t *slots;
    uint32_t states[4];
    const uint8_t *next, *end;
    uint32_t number;
    uint8_t last;
} ekd__rans;

static ekd_result ekd__load_rans(const ekd_decoder *decoder, size_t at, ekd__rans *rans) {
    uint8_t levels[256];
    ekd__cursor body;
    unsigned i, slot = 0;
    body.data = decoder->file->data;
    body.at = at;
    body.end = decoder->tensor->next_at;
    rans->starts = (uint16_t *)(void *)decoder->table;
    rans->slots = decoder->table_bytes >= 520 + 4096 ? decoder->table + 520 : 0;
    EKD__TRY(ekd__read_levels(&body, levels));
    EKD__TRY(ekd__read_frequencies(&body, levels, rans->starts + 1));
    rans->starts[0] = 0;
    for (i = 0; i < 256; i++) {
        if (rans->starts[i + 1])
            rans->last = (uint8_t)i;
        rans->starts[i + 1] = (uint16_t)(rans->starts[i + 1] + rans->starts[i]);
        while (rans->slots && slot < rans->starts[i + 1])
            rans->slots[slot++] = (uint8_t)i;
    }
    return EKD_OK;
}

static ekd_result ekd__open_rans(ekd__rans *rans, ekd__streams *all, uint32_t symbols) {
    ekd__stream stream;
    unsigned i;
    EKD__TRY(ekd__next_stream(all, &stream));
    rans->next = stream.start;
    rans->end = stream.end;
    rans->number = 0;
    for (i = 0; i < 4; i++)
        rans->states[i] = 65536;
    if (!symbols)
        return rans->next == rans->end ? EKD_OK : EKD_CORRUPT;
    if (rans->end - rans->next < 16)
        return EKD_TRUNCATED;
    for (i = 0; i < 4; i++, rans->next += 4) {
        rans->states[i] = ekd__u32(rans->next);
        if (rans->states[i] < 65536)
            return EKD_CORRUPT;
    }
    return EKD_OK;
}

static ekd_result ekd__rans_symbol(ekd__rans *rans, unsigned *symbol) {
    uint32_t *state = &rans->states[rans->number++ & 3], x = *state, slot = x & 4095;
    unsigned low = 0, high = 255;
    if (rans->slots) {
        low = rans->slots[slot];
    } else {
        while (low < high) { /* the last symbol that starts at or below the slot */
            unsigned middle = (low + high + 1) / 2;
            if (rans->starts[middle] <= slot)
                low = middle;
            else
                high = middle - 1;
        }
    }
    x = (uint32_t)(rans->starts[low + 1] - rans->starts[low]) * (x >> EKD__RANS_LOG2) + slot -
        rans->starts[low];
    if (x < 65536) {
        if (rans->end - rans->next < 2)
            return EKD_TRUNCATED;
        x = x << 16 | ekd__u16(rans->next);
        rans->next += 2;
    }
    *state = x;
    *symbol = low;
    return EKD_OK;
}

static ekd_result ekd__close_rans(const ekd__rans *rans) {
    unsigned i;
    if (rans->next != rans->end)
        return EKD_CORRUPT;
    for (i = 0; i < 4; i++)
        if (rans->states[i] != 65536)
            return EKD_CORRUPT;
    return EKD_OK;
}

static ekd_result ekd__rans_values(ekd__rans *rans, ekd__streams *all, uint32_t symbols,
                                   uint8_t *out) {
    unsigned symbol = 0;
    EKD__TRY(ekd__open_rans(rans, all, symbols));
    while (symbols--) {
        EKD__TRY(ekd__rans_symbol(rans, &symbol));
        *out++ = (uint8_t)symbol;
    }
    return ekd__close_rans(rans);
}

static ekd_result ekd__rans_chunk(const ekd_decoder *decoder, const ekd_chunk *chunk,
                                  uint8_t *out) {
    const ekd_tensor *tensor = decoder->tensor;
    ekd__streams all;
    ekd__rans rans;
    ekd__spread spread;
    uint32_t left = chunk->position_count;
    unsigned symbol = 0;
    ekd__open_streams(decoder->file, tensor, chunk, &all);
    EKD__TRY(ekd__load_rans(decoder, tensor->values_at, &rans));
    if (!ekd__is_sparse(tensor))
        return ekd__rans_values(&rans, &all, chunk->elements, out);
    EKD__TRY(ekd__rans_values(&rans, &all, chunk->value_count,
                              out + (chunk->elements - chunk->value_count)));
    EKD__TRY(ekd__load_rans(decoder, tensor->positions_at, &rans));
    EKD__TRY(ekd__open_rans(&rans, &all, left));
    ekd__open_spread(tensor, chunk, out, &spread);
    while (left--) {
        EKD__TRY(ekd__rans_symbol(&rans, &symbol));
        EKD__TRY(ekd__spread_symbol(&spread, symbol));
    }
    EKD__TRY(ekd__close_rans(&rans));
    return ekd__spread_end(&spread);
}
#endif

#ifndef EKD_NO_FAST
/* With room for both sequences, positions are checked as a whole and then spread without tests. */

static ekd_result ekd__check_gaps(const ekd_chunk *chunk, const uint8_t *gaps) {
    uint32_t count = chunk->position_count, sum = 0, longest = 0, i;
    for (i = 0; i < count; i++) {
        sum += gaps[i];
        longest += gaps[i] == 255;
    }
    if (count - longest != chunk->value_count || (count && gaps[count - 1] == 255))
        return EKD_CORRUPT;
    return sum <= chunk->elements - chunk->value_count ? EKD_OK : EKD_CORRUPT;
}

static ekd_result ekd__check_masks(const ekd_chunk *chunk, const uint8_t *masks) {
    uint32_t count = chunk->position_count, sum = 0, i;
    for (i = 0; i < count; i++) {
        unsigned pairs = masks[i] - (masks[i] >> 1 & 0x55u);
        pairs = (pairs & 0x33) + (pairs >> 2 & 0x33);
        sum += (pairs + (pairs >> 4)) & 15;
    }
    if (chunk->elements % 8 && masks[count - 1] >> chunk->elements % 8)
        return EKD_CORRUPT;
    return sum == chunk->value_count ? EKD_OK : EKD_CORRUPT;
}

/* Checked positions spread values over a chunk, as codes or as weights. A mask's elements are all
   written, each with a value or with the zero symbol, so that no branch has to guess the bits; the
   byte behind the last value may be read, which is the first position.
   NOLINTBEGIN(bugprone-macro-parentheses): a type can't stand in them. */
#define EKD__SPREAD(name, type, element_of)                                                        \
    static void name(const ekd_chunk *chunk, int is_mask, const uint8_t *values,                   \
                     const uint8_t *positions, const float *weights, type *out) {                  \
        const type zero = element_of(0);                                                           \
        uint32_t i, bit, elements = chunk->elements;                                               \
        if (is_mask) {                                                                             \
            for (i = 0; i < elements / 8; i++, out += 8) {                                         \
                for (bit = 0; bit < 8; bit++) {                                                    \
                    unsigned is_value = positions[i] >> bit & 1u;                                  \
                    out[bit] = element_of(*values & (0u - is_value));                              \
                    values += is_value;                                                            \
                }                                                                                  \
            }                                                                                      \
            for (bit = 0; bit < elements % 8; bit++)                                               \
                out[bit] = positions[i] >> bit & 1 ? element_of(*values++) : zero;                 \
            return;                                                                                \
        }                                                                                          \
        for (i = 0; i < elements; i++)                                                             \
            out[i] = zero;                                                                         \
        for (i = 0; i < chunk->position_count; i++) {                                              \
            out += positions[i];                                                                   \
            if (positions[i] != 255)                                                               \
                *out++ = element_of(*values++);                                                    \
        }                                                                                          \
        (void)weights;                                                                             \
    }
/* NOLINTEND(bugprone-macro-parentheses) */
#define EKD__AS_CODE(symbol) ((uint8_t)(symbol))
#define EKD__AS_WEIGHT(symbol) (weights[symbol])
EKD__SPREAD(ekd__spread_codes, uint8_t, EKD__AS_CODE)
#ifndef EKD_NO_FLOAT
EKD__SPREAD(ekd__spread_weights, float, EKD__AS_WEIGHT)
#endif

static int ekd__has_room(const ekd_decoder *decoder, const ekd_chunk *chunk) {
    return decoder->room &&
           (size_t)chunk->value_count + chunk->position_count <= decoder->room_bytes;
}

/* Values, then positions behind them, into the room. */
static ekd_result ekd__sparse_sequences(ekd_decoder *decoder, const ekd_chunk *chunk) {
    const ekd_file *file = decoder->file;
    const ekd_tensor *tensor = decoder->tensor;
    uint8_t *positions = decoder->room + chunk->value_count;
    ekd__streams all;
    ekd__open_streams(file, tensor, chunk, &all);
    EKD__TRY(ekd__huffman(file, &decoder->values, &all, tensor->streams, chunk->value_count,
                          decoder->room));
    EKD__TRY(ekd__huffman(file, &decoder->positions, &all, tensor->streams, chunk->position_count,
                          positions));
    return tensor->mode == EKD_MASK ? ekd__check_masks(chunk, positions)
                                    : ekd__check_gaps(chunk, positions);
}
#endif

/* In the least memory: one table after the other, values at the end of `out`. */
static ekd_result ekd__sparse_chunk(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out) {
    const ekd_file *file = decoder->file;
    const ekd_tensor *tensor = decoder->tensor;
    uint32_t i;
    ekd__streams all;
    ekd__stream stream;
    ekd__spread spread;
    ekd__open_streams(file, tensor, chunk, &all);
    EKD__TRY(ekd__load_values(decoder));
    EKD__TRY(ekd__huffman(file, &decoder->values, &all, tensor->streams, chunk->value_count,
                          out + (chunk->elements - chunk->value_count)));
    EKD__TRY(ekd__load_positions(decoder));
    ekd__open_spread(tensor, chunk, out, &spread);
    for (i = 0; i < tensor->streams; i++) {
        uint32_t left = ekd__segment(chunk->position_count, tensor->streams, i);
        EKD__TRY(ekd__next_stream(&all, &stream));
        EKD__TRY(ekd__check_symbols(&stream, left));
        for (; left; left--)
            EKD__TRY(ekd__spread_symbol(&spread, ekd__symbol(&decoder->positions, &stream)));
        EKD__TRY(ekd__check_end(&decoder->positions, &stream));
    }
    return ekd__spread_end(&spread);
}

/* Chapter 6: no code is above the codebook's last index. */
static ekd_result ekd__check_codes(const ekd_tensor *tensor, const uint8_t *codes, size_t count) {
    size_t i;
    unsigned largest = 0;
    for (i = 0; i < count; i++)
        largest = codes[i] > largest ? codes[i] : largest;
    return largest < tensor->codebook_count ? EKD_OK : EKD_CORRUPT;
}

/* Whether codes have to be looked at: not where their table has none above the codebook's. */
static int ekd__may_exceed(const ekd_decoder *decoder) {
    const ekd_tensor *tensor = decoder->tensor;
    int is_huffman = ekd__is_coded(tensor) && !tensor->coder;
    return tensor->has_codebook && !(is_huffman && decoder->values.last < tensor->codebook_count);
}

ekd_result ekd_begin(const ekd_file *file, const ekd_tensor *tensor, void *work, size_t work_bytes,
                     ekd_decoder *decoder) {
    if (work_bytes < EKD_WORK_SMALL)
        return EKD_SMALL_BUFFER;
    decoder->file = file;
    decoder->tensor = tensor;
    decoder->weights = 0;
    decoder->room = 0;
    decoder->table = (uint8_t *)work;
    decoder->table_bytes = work_bytes;
#ifndef EKD_NO_FLOAT
    ekd__rewind_scales(file, tensor, &decoder->scales);
    if (work_bytes >= EKD_WORK_SMALL + 1024 && tensor->stored == EKD_TYPE_CODE) {
        decoder->weights = (float *)work;
        decoder->table += 1024;
        decoder->table_bytes -= 1024;
        ekd__fill_weights(decoder);
    }
#endif
#ifndef EKD_NO_FAST
    if (decoder->table_bytes > EKD__BOTH_TABLES) {
        decoder->room = decoder->table + EKD__BOTH_TABLES;
        decoder->room_bytes = decoder->table_bytes - EKD__BOTH_TABLES;
        decoder->table_bytes = EKD__FAST_TABLES;
    }
#endif
    if (!ekd__is_coded(tensor) || tensor->coder)
        return EKD_OK;
    if (ekd__is_sparse(tensor) && !decoder->room)
        return EKD_OK; /* its tables take turns */
    EKD__TRY(ekd__load_values(decoder));
    return ekd__is_sparse(tensor) ? ekd__load_positions(decoder) : EKD_OK;
}

static ekd_result ekd__coded_chunk(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out) {
    const ekd_tensor *tensor = decoder->tensor;
    ekd__streams all;
    if (tensor->coder) {
#ifdef EKD_NO_RANS
        return EKD_UNSUPPORTED;
#else
        return ekd__rans_chunk(decoder, chunk, out);
#endif
    }
    if (!ekd__is_sparse(tensor)) {
        ekd__open_streams(decoder->file, tensor, chunk, &all);
        return ekd__huffman(decoder->file, &decoder->values, &all, tensor->streams, chunk->elements,
                            out);
    }
#ifndef EKD_NO_FAST
    if (ekd__has_room(decoder, chunk)) {
        EKD__TRY(ekd__sparse_sequences(decoder, chunk));
        ekd__spread_codes(chunk, tensor->mode == EKD_MASK, decoder->room,
                          decoder->room + chunk->value_count, 0, out);
        return EKD_OK;
    }
#endif
    return ekd__sparse_chunk(decoder, chunk, out);
}

/* Elements that follow each other with the same index of the axis: dims behind it. */
static uint32_t ekd__behind(const ekd_tensor *tensor) {
    uint32_t behind = 1, i;
    for (i = tensor->axis + 1; i < tensor->rank; i++)
        behind *= tensor->dims[i];
    return behind;
}

/* Chapter 4.7: symbols become codes, each by those before it on its path in the chunk. */
#ifdef EKD_NO_FAST
static void ekd__join_trellis(const ekd_tensor *tensor, const ekd_chunk *chunk, uint8_t *codes) {
    static const uint8_t backs[4] = {1, 2, 4, 6};
    const uint32_t row = ekd__behind(tensor), count = chunk->elements;
    /* In a row as long as the chunk no element has another before it. */
    const uint32_t channels = row < count ? tensor->dims[tensor->axis] : 1;
    uint32_t channel = chunk->first / row % channels, left = row - chunk->first % row;
    uint32_t i, k, back;
    for (i = 0; i < count; i++) {
        unsigned bits = 0;
        for (k = 0; k < 4 && backs[k] <= channel; k++) {
            back = backs[k] * row;
            if (i >= back)
                bits ^= (unsigned)codes[i - back] >> (6 >> k & 1);
        }
        codes[i] = (uint8_t)((unsigned)codes[i] << 1 | (bits & 1));
        if (!--left) {
            left = row;
            channel = channel + 1 < channels ? channel + 1 : 0;
        }
    }
}
#else
/* A bit of the codes `back` elements before `from` and behind, added to the lowest of these. */
static void ekd__add_bits(uint8_t *codes, size_t from, size_t to, size_t back, unsigned place) {
    size_t i;
    for (i = from < back ? back : from; i < to; i++)
        codes[i] = (uint8_t)(codes[i] ^ (codes[i - back] >> place & 1));
}

/* Paths of neighbours: the bits of the codes before wait in registers. */
static void ekd__join_neighbours(uint8_t *codes, size_t count, uint32_t channel,
                                 uint32_t channels) {
    unsigned lowest = 0, second = 0, bit;
    size_t i;
    for (i = 0; i < count; i++) {
        if (channel == channels)
            channel = lowest = second = 0;
        bit = (lowest ^ second >> 1 ^ second >> 3 ^ lowest >> 5) & 1;
        lowest = lowest << 1 | bit;
        second = second << 1 | (codes[i] & 1);
        codes[i] = (uint8_t)((unsigned)codes[i] << 1 | bit);
        channel++;
    }
}

/* Row by row, of which a compiler takes many codes at once. */
static void ekd__join_trellis(const ekd_tensor *tensor, const ekd_chunk *chunk, uint8_t *codes) {
    static const uint8_t taps[4][2] = {{1, 0}, {2, 1}, {4, 1}, {6, 0}}; /* back, place of the bit */
    const uint32_t row = ekd__behind(tensor), count = chunk->elements;
    const uint32_t channels = tensor->dims[tensor->axis];
    uint32_t channel = (uint32_t)(chunk->first / row % channels);
    size_t from, to, i;
    if (row == 1) {
        ekd__join_neighbours(codes, count, channel, channels);
        return;
    }
    for (from = 0; from < count; from++)
        codes[from] = (uint8_t)(codes[from] << 1);
    if (row >= count)
        return; /* none has another before it */
    for (from = 0, to = row - chunk->first % row; from < count; from = to, to += row) {
        to = to < count ? to : count;
        for (i = 0; i < 4 && taps[i][0] <= channel; i++)
            ekd__add_bits(codes, from, to, (size_t)taps[i][0] * row, taps[i][1]);
        channel = channel + 1 < channels ? channel + 1 : 0;
    }
}
#endif

ekd_result ekd_decode_chunk(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out,
                            size_t out_bytes) {
    const uint8_t *data = decoder->file->data + chunk->data_at;
    size_t bytes = chunk->elements * ekd_stored_bytes(decoder->tensor), i;
    if (out_bytes < bytes)
        return EKD_SMALL_BUFFER;
    EKD__TRY(ekd__check_crc(data, chunk->bytes, chunk->crc32c));
    if (ekd__is_coded(decoder->tensor)) {
        EKD__TRY(ekd__coded_chunk(decoder, chunk, out));
        if (decoder->tensor->mode == EKD_TRELLIS)
            ekd__join_trellis(decoder->tensor, chunk, out);
    } else {
        for (i = 0; i < bytes; i++)
            out[i] = data[i];
    }
    return ekd__may_exceed(decoder) ? ekd__check_codes(decoder->tensor, out, bytes) : EKD_OK;
}

#if !defined(EKD_NO_FAST) && !defined(EKD_NO_EIGHT)
/* Whether two chunks are decoded at once: their four streams each make eight. */
static int ekd__goes_in_pairs(const ekd_decoder *decoder) {
    const ekd_tensor *tensor = decoder->tensor;
    return tensor->mode == EKD_DIRECT && !tensor->coder && tensor->streams == 4 &&
           !decoder->values.symbols;
}

static ekd_result ekd__open_direct(const ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out,
                                   ekd__stream *opened) {
    const ekd_tensor *tensor = decoder->tensor;
    ekd__streams all;
    EKD__TRY(ekd__check_crc(decoder->file->data + chunk->data_at, chunk->bytes, chunk->crc32c));
    ekd__open_streams(decoder->file, tensor, chunk, &all);
    return ekd__open_segments(&all, tensor->streams, chunk->elements, out, opened);
}

/* The second chunk's place is behind the first's. */
static ekd_result ekd__decode_pair(const ekd_decoder *decoder, const ekd_chunk *first,
                                   const ekd_chunk *second, uint8_t *out, uint8_t *second_out) {
    const ekd_file *file = decoder->file;
    ekd__stream opened[8];
    EKD__TRY(ekd__open_direct(decoder, first, out, opened));
    EKD__TRY(ekd__open_direct(decoder, second, second_out, opened + 4));
    ekd__decode_streams(&decoder->values, opened, 8, out, file->data + file->bytes - 8);
    EKD__TRY(ekd__finish(&decoder->values, opened, 8));
    if (!ekd__may_exceed(decoder))
        return EKD_OK;
    EKD__TRY(ekd__check_codes(decoder->tensor, out, first->elements));
    return ekd__check_codes(decoder->tensor, second_out, second->elements);
}
#endif

/* A constant tensor's elements. */
static ekd_result ekd__repeat(const ekd_decoder *decoder, uint8_t *out, size_t bytes) {
    size_t width = ekd_stored_bytes(decoder->tensor), i;
    for (i = 0; i < bytes; i++)
        out[i] = decoder->file->data[decoder->tensor->constant_at + i % width];
    return ekd__may_exceed(decoder) ? ekd__check_codes(decoder->tensor, out, 1) : EKD_OK;
}

#ifndef EKD_NO_FLOAT
/* Chapter 6: from codes to weights. */

typedef union {
    float number;
    uint32_t bits;
} ekd__float;

/* The bits of a float32. As a float, a signalling NaN wouldn't pass through every processor. */
static uint32_t ekd__half_to_float(uint32_t half) {
    ekd__float result;
    uint32_t exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) {
        result.bits = 0x7F800000u | fraction << 13;
    } else if (exponent) {
        result.bits = (exponent + 112) << 23 | fraction << 13;
    } else { /* subnormal: a multiple of 2^-24 */
        result.number = (float)fraction * 5.9604644775390625e-8f;
    }
    return result.bits | (half & 0x8000u) << 16;
}

/* Rounded to nearest, ties to even; larger numbers become infinite. */
static uint32_t ekd__float_to_half(float number) {
    ekd__float value;
    uint32_t sign, size, shift, kept, lost, middle;
    value.number = number;
    sign = value.bits >> 16 & 0x8000u;
    size = value.bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u)
        return sign | 0x7C00u | 0x200u | (size >> 13 & 0x3FFu); /* NaN */
    if (size >= 0x477FF000u)
        return sign | 0x7C00u;
    if (size >= 0x38800000u) {
        size -= 112u << 23;
        return sign | (size + 0xFFFu + (size >> 13 & 1)) >> 13;
    }
    if (size < 0x33000000u)
        return sign;
    shift = 126 - (size >> 23); /* subnormal: units of 2^-24 */
    size = (size & 0x7FFFFFu) | 0x800000u;
    kept = size >> shift;
    lost = size & ((1u << shift) - 1);
    middle = 1u << (shift - 1);
    return sign | (kept + (lost > middle || (lost == middle && (kept & 1))));
}

static uint32_t ekd__float_to_bfloat(float number) {
    ekd__float value;
    value.number = number;
    if ((value.bits & 0x7FFFFFFFu) > 0x7F800000u)
        return value.bits >> 16 | 0x40u;
    return (value.bits + 0x7FFFu + (value.bits >> 16 & 1)) >> 16;
}

static float ekd__read_float(const uint8_t *p, int is_half) {
    ekd__float value;
    value.bits = is_half ? ekd__half_to_float(ekd__u16(p)) : ekd__u32(p);
    return value.number;
}

static float ekd__scale_at(const ekd_file *file, const ekd_tensor *tensor, ekd__scales *scales) {
    float scale = ekd__read_float(file->data + scales->at, tensor->half_scales);
    scales->at += tensor->half_scales ? 2 : 4;
    return scale;
}

/* Past a varint. The fields were checked when the record was read. */
static uint32_t ekd__scale_varint(const ekd_file *file, const ekd_tensor *tensor,
                                  ekd__scales *scales) {
    ekd__cursor body;
    uint32_t value = 0xFFFFFFFFu;
    body.data = file->data;
    body.at = scales->at;
    body.end = tensor->next_at;
    (void)ekd__varint(&body, &value);
    scales->at = body.at;
    return value;
}

static void ekd__next_exception(const ekd_file *file, const ekd_tensor *tensor,
                                ekd__scales *scales) {
    scales->skipped = 0xFFFFFFFFu;
    if (!scales->exceptions)
        return;
    scales->exceptions--;
    scales->skipped = ekd__scale_varint(file, tensor, scales);
}

static void ekd__rewind_scales(const ekd_file *file, const ekd_tensor *tensor,
                               ekd__scales *scales) {
    scales->channel = scales->skipped = scales->exceptions = 0;
    scales->scale = 1.0f;
    scales->at = tensor->scales_at;
    if (tensor->scale_kind == 3) { /* behind the common scale: a count, then a varint and a scale */
        (void)ekd__scale_at(file, tensor, scales);
        (void)ekd__scale_varint(file, tensor, scales);
        scales->exceptions = tensor->exceptions;
        ekd__next_exception(file, tensor, scales);
    }
}

/* A channel's scale, with kind 2 or 3. From channels before it this takes no more steps than there
   are exceptions between, so that all chunks in order take as many as there are scales. */
static float ekd__seek_scale(const ekd_file *file, const ekd_tensor *tensor, ekd__scales *scales,
                             uint32_t channel) {
    uint32_t left;
    if (channel + 1 == scales->channel)
        return scales->scale;
    if (channel < scales->channel)
        ekd__rewind_scales(file, tensor, scales);
    left = channel - scales->channel;
    scales->channel = channel + 1;
    if (tensor->scale_kind == 2) {
        scales->at += (size_t)left * (tensor->half_scales ? 2 : 4);
        return scales->scale = ekd__scale_at(file, tensor, scales);
    }
    for (; left > scales->skipped; left--) {
        left -= scales->skipped;
        (void)ekd__scale_at(file, tensor, scales);
        ekd__next_exception(file, tensor, scales);
    }
    if (left == scales->skipped) {
        scales->scale = ekd__scale_at(file, tensor, scales);
        ekd__next_exception(file, tensor, scales);
    } else {
        scales->scale = ekd__read_float(file->data + tensor->scales_at, tensor->half_scales);
        scales->skipped -= left + 1;
    }
    return scales->scale;
}

float ekd_scale(const ekd_file *file, const ekd_tensor *tensor, uint32_t channel) {
    ekd__scales scales;
    if (!tensor->scale_kind)
        return 1.0f;
    if (tensor->scale_kind == 1)
        return ekd__read_float(file->data + tensor->scales_at, tensor->half_scales);
    if (channel >= tensor->dims[tensor->axis])
        return 1.0f;
    ekd__rewind_scales(file, tensor, &scales);
    return ekd__seek_scale(file, tensor, &scales, channel);
}

/* Elements of one scale that follow each other. */
static uint32_t ekd__run(const ekd_tensor *tensor) {
    return tensor->scale_kind < 2 ? tensor->elements : ekd__behind(tensor);
}

/* What a code stands for, before its channel's scale. */
static float ekd__weight(const ekd_decoder *decoder, unsigned code) {
    const ekd_tensor *tensor = decoder->tensor;
    const uint8_t *data = decoder->file->data;
    size_t width = tensor->half_codebook ? 2 : 4;
    float weight;
    if (decoder->weights)
        return decoder->weights[code];
    weight = (float)(code < 128 ? (int)code : (int)code - 256);
    if (tensor->has_codebook)
        weight = ekd__read_float(data + tensor->codebook_at + code * width, tensor->half_codebook);
    if (tensor->scale_kind == 1)
        weight *= ekd__read_float(data + tensor->scales_at, tensor->half_scales);
    return weight;
}

static void ekd__fill_weights(ekd_decoder *decoder) {
    const ekd_tensor *tensor = decoder->tensor;
    uint32_t i, count = tensor->has_codebook ? tensor->codebook_count : 256;
    float *weights = decoder->weights;
    decoder->weights = 0;
    for (i = 0; i < 256; i++)
        weights[i] = i < count ? ekd__weight(decoder, i) : 0.0f;
    decoder->weights = weights;
}

/* One element in its restored type and this machine's byte order. */
static void ekd__put(uint8_t *out, unsigned type, float number) {
    union {
        uint8_t bytes[8];
        float f32;
        double f64;
        uint16_t u16;
    } value;
    size_t i, width = ekd__type_bytes(type);
    if (type == EKD_TYPE_F32)
        value.f32 = number;
    if (type == EKD_TYPE_F64)
        value.f64 = (double)number;
    if (type == EKD_TYPE_F16)
        value.u16 = (uint16_t)ekd__float_to_half(number);
    if (type == EKD_TYPE_BF16)
        value.u16 = (uint16_t)ekd__float_to_bfloat(number);
    for (i = 0; i < width; i++)
        out[i] = value.bytes[i];
}

/* A float32 from its bits, in this machine's byte order. */
static void ekd__put_bits(uint8_t *out, uint32_t bits) {
    union {
        uint8_t bytes[4];
        uint32_t bits;
    } value;
    size_t i;
    value.bits = bits;
    for (i = 0; i < sizeof value.bytes; i++)
        out[i] = value.bytes[i];
}

#ifndef EKD_LOOK_UP
#define EKD_LOOK_UP(weights, values, scale, codes, count, out) 0
#endif

/* The weights of codes that share a scale. Four are read before four are written, which a compiler
   may not do by itself: for all it knows, a weight overwrites the next code. */
static void ekd__look_up(const ekd_decoder *decoder, float scale, const uint8_t *codes,
                         uint32_t count, float *out) {
    const float *weights = decoder->weights;
    float first, second, third, fourth;
    uint32_t i = EKD_LOOK_UP(weights, decoder->tensor->codebook_count, scale, codes, count, out);
    for (; i + 4 <= count; i += 4) {
        first = weights[codes[i]] * scale;
        second = weights[codes[i + 1]] * scale;
        third = weights[codes[i + 2]] * scale;
        fourth = weights[codes[i + 3]] * scale;
        out[i] = first;
        out[i + 1] = second;
        out[i + 2] = third;
        out[i + 3] = fourth;
    }
    for (; i < count; i++)
        out[i] = weights[codes[i]] * scale;
}

/* Codes at the end of `out` become weights, forwards and in place: a weight is at least as wide as
   its code, so what is written never passes what is still to be read. */
static void ekd__restore_codes(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out) {
    const ekd_tensor *tensor = decoder->tensor;
    const int is_fast = decoder->weights && tensor->restored == EKD_TYPE_F32;
    const int has_channels = tensor->scale_kind >= 2;
    const uint32_t run = ekd__run(tensor);
    size_t width = ekd_restored_bytes(tensor);
    const uint8_t *codes = out + chunk->elements * (width - 1);
    uint32_t done, count, i, channel = 0, left = run - chunk->first % run;
    float scale = 1.0f; /* one for all is in the weights already */
    if (has_channels) {
        channel = chunk->first / run % tensor->dims[tensor->axis];
        scale = ekd__seek_scale(decoder->file, tensor, &decoder->scales, channel);
    }
    for (done = 0; done < chunk->elements; done += count, left -= count) {
        if (!left) {
            left = run;
            if (has_channels) {
                channel = channel + 1 < tensor->dims[tensor->axis] ? channel + 1 : 0;
                scale = ekd__seek_scale(decoder->file, tensor, &decoder->scales, channel);
            }
        }
        count = chunk->elements - done < left ? chunk->elements - done : left;
        if (is_fast) {
            ekd__look_up(decoder, scale, codes + done, count,
                         (float *)(void *)(out + (size_t)done * width));
        } else {
            for (i = 0; i < count; i++)
                ekd__put(out + ((size_t)done + i) * width, tensor->restored,
                         ekd__weight(decoder, codes[done + i]) * scale);
        }
    }
}

/* Little-endian numbers of `width` bytes into this machine's order. */
static void ekd__native_order(uint8_t *out, size_t width, uint32_t elements) {
    union {
        uint8_t bytes[2];
        uint16_t number;
    } order;
    uint32_t i;
    size_t low;
    order.number = 1;
    if (order.bytes[0])
        return;
    for (i = 0; i < elements; i++, out += width) {
        for (low = 0; low < width / 2; low++) {
            uint8_t swapped = out[low];
            out[low] = out[width - 1 - low];
            out[width - 1 - low] = swapped;
        }
    }
}

/* Stored elements at the end of `out` become restored ones that fill it. */
static void ekd__restore(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out) {
    const ekd_tensor *tensor = decoder->tensor;
    size_t stored = ekd_stored_bytes(tensor), restored = ekd_restored_bytes(tensor);
    uint32_t i;
    if (tensor->stored == EKD_TYPE_CODE) {
        if (tensor->scale_kind || tensor->has_codebook)
            ekd__restore_codes(decoder, chunk, out);
    } else if (tensor->stored == tensor->restored) {
        ekd__native_order(out, restored, chunk->elements);
    } else { /* f16 to f32 */
        const uint8_t *halves = out + chunk->elements * (restored - stored);
        for (i = 0; i < chunk->elements; i++)
            ekd__put_bits(out + i * restored, ekd__half_to_float(ekd__u16(halves + i * stored)));
    }
}

ekd_result ekd_restore_chunk(ekd_decoder *decoder, const ekd_chunk *chunk, void *out,
                             size_t out_bytes) {
    const ekd_tensor *tensor = decoder->tensor;
    size_t stored = chunk->elements * ekd_stored_bytes(tensor);
    size_t restored = chunk->elements * ekd_restored_bytes(tensor);
    if (out_bytes < restored)
        return EKD_SMALL_BUFFER;
#ifndef EKD_NO_FAST
    /* Sparse weights that share a scale are spread as such, without codes in between. */
    if (ekd__is_sparse(tensor) && !tensor->coder && ekd__has_room(decoder, chunk) &&
        decoder->weights && tensor->restored == EKD_TYPE_F32 && tensor->scale_kind < 2 &&
        !ekd__may_exceed(decoder)) {
        const uint8_t *data = decoder->file->data + chunk->data_at;
        EKD__TRY(ekd__check_crc(data, chunk->bytes, chunk->crc32c));
        EKD__TRY(ekd__sparse_sequences(decoder, chunk));
        ekd__spread_weights(chunk, tensor->mode == EKD_MASK, decoder->room,
                            decoder->room + chunk->value_count, decoder->weights, (float *)out);
        return EKD_OK;
    }
#endif
    EKD__TRY(ekd_decode_chunk(decoder, chunk, (uint8_t *)out + (restored - stored), stored));
    ekd__restore(decoder, chunk, (uint8_t *)out);
    return EKD_OK;
}

#endif /* EKD_NO_FLOAT */

/* All chunks of a tensor, restored or as they are stored, of `width` bytes an element. */

static ekd_result ekd__decode_one(ekd_decoder *decoder, const ekd_chunk *chunk, uint8_t *out,
                                  size_t width, int is_restored) {
    size_t bytes = chunk->elements * width;
    out += chunk->first * width;
#ifndef EKD_NO_FLOAT
    if (is_restored)
        return ekd_restore_chunk(decoder, chunk, out, bytes);
#endif
    (void)is_restored;
    return ekd_decode_chunk(decoder, chunk, out, bytes);
}

#if !defined(EKD_NO_FAST) && !defined(EKD_NO_EIGHT)
static ekd_result ekd__decode_two(ekd_decoder *decoder, const ekd_chunk *first,
                                  const ekd_chunk *second, uint8_t *out, size_t width,
                                  int is_restored) {
    size_t unused = width - ekd_stored_bytes(decoder->tensor);
    uint8_t *first_out = out + first->first * width, *second_out = out + second->first * width;
    EKD__TRY(ekd__decode_pair(decoder, first, second, first_out + first->elements * unused,
                              second_out + second->elements * unused));
#ifndef EKD_NO_FLOAT
    if (is_restored) {
        ekd__restore(decoder, first, first_out);
        ekd__restore(decoder, second, second_out);
    }
#endif
    (void)is_restored;
    return EKD_OK;
}

static ekd_result ekd__skip_chunk(const ekd_decoder *decoder, ekd_chunk *chunk) {
    EKD__TRY(ekd_next_chunk(decoder->file, decoder->tensor, chunk));
    return ekd_next_chunk(decoder->file, decoder->tensor, chunk);
}
#endif

static ekd_result ekd__decode_chunks(ekd_decoder *decoder, uint8_t *out, size_t width,
                                     int is_restored) {
    ekd_chunk chunk;
    ekd_result result = ekd_first_chunk(decoder->file, decoder->tensor, &chunk);
#if !defined(EKD_NO_FAST) && !defined(EKD_NO_EIGHT)
    if (ekd__goes_in_pairs(decoder) && result == EKD_OK) {
        ekd_chunk second;
        ekd_result has_second = ekd_first_chunk(decoder->file, decoder->tensor, &second);
        if (has_second == EKD_OK)
            has_second = ekd_next_chunk(decoder->file, decoder->tensor, &second);
        while (result == EKD_OK && has_second == EKD_OK) {
            EKD__TRY(ekd__decode_two(decoder, &chunk, &second, out, width, is_restored));
            result = ekd__skip_chunk(decoder, &chunk);
            has_second = ekd__skip_chunk(decoder, &second);
        }
    }
#endif
    while (result == EKD_OK) {
        EKD__TRY(ekd__decode_one(decoder, &chunk, out, width, is_restored));
        result = ekd_next_chunk(decoder->file, decoder->tensor, &chunk);
    }
    return result == EKD_END ? EKD_OK : result;
}

ekd_result ekd_decode_stored(const ekd_file *file, const ekd_tensor *tensor, void *work,
                             size_t work_bytes, uint8_t *out, size_t out_bytes) {
    size_t width = ekd_stored_bytes(tensor);
    ekd_decoder decoder;
    if (tensor->elements > out_bytes / width)
        return EKD_SMALL_BUFFER;
    EKD__TRY(ekd_begin(file, tensor, work, work_bytes, &decoder));
    if (tensor->mode == EKD_CONSTANT)
        return ekd__repeat(&decoder, out, tensor->elements * width);
    return ekd__decode_chunks(&decoder, out, width, 0);
}

#ifndef EKD_NO_FLOAT
ekd_result ekd_decode_restored(const ekd_file *file, const ekd_tensor *tensor, void *work,
                               size_t work_bytes, void *out, size_t out_bytes) {
    size_t width = ekd_restored_bytes(tensor);
    uint8_t *begin = (uint8_t *)out;
    ekd_decoder decoder;
    if (tensor->elements > out_bytes / width)
        return EKD_SMALL_BUFFER;
    EKD__TRY(ekd_begin(file, tensor, work, work_bytes, &decoder));
    if (tensor->mode == EKD_CONSTANT) {
        size_t stored = tensor->elements * ekd_stored_bytes(tensor);
        ekd_chunk chunk;
        EKD__TRY(ekd__repeat(&decoder, begin + (tensor->elements * width - stored), stored));
        chunk.first = 0;
        chunk.elements = tensor->elements;
        ekd__restore(&decoder, &chunk, begin);
        return EKD_OK;
    }
    return ekd__decode_chunks(&decoder, begin, width, 1);
}

ekd_result ekd_decode_f32(const ekd_file *file, const ekd_tensor *tensor, void *work,
                          size_t work_bytes, float *out, size_t out_elements) {
    if (tensor->restored != EKD_TYPE_F32)
        return EKD_UNSUPPORTED;
    if (tensor->elements > out_elements)
        return EKD_SMALL_BUFFER;
    return ekd_decode_restored(file, tensor, work, work_bytes, out,
                               (size_t)tensor->elements * sizeof *out);
}
#endif /* EKD_NO_FLOAT */

#endif /* EDGEKIT_DECODE_BODY */
#endif /* EDGEKIT_DECODE_IMPLEMENTATION */
