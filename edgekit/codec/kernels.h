/* What the wheel compiles beside the decoder: counting, splitting and coding symbols, a faster
   CRC-32C and a faster way from codes to weights. The numpy functions of the same names in this
   package say what each one does. */

#ifndef EDGEKIT_KERNELS_H
#define EDGEKIT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#endif

#ifdef __GNUC__
#define EKK_RESTRICT __restrict__
#else
#define EKK_RESTRICT
#endif

/* Eight bytes at a time through eight tables (Kounavis and Berry, 2005). */
static uint32_t ekk_crc_tables[8][256];

static void ekk_prepare(void) {
    uint32_t i, k, crc;
    for (i = 0; i < 256; i++) {
        crc = i;
        for (k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
        ekk_crc_tables[0][i] = crc;
    }
    for (k = 1; k < 8; k++)
        for (i = 0; i < 256; i++)
            ekk_crc_tables[k][i] =
                ekk_crc_tables[k - 1][i] >> 8 ^ ekk_crc_tables[0][ekk_crc_tables[k - 1][i] & 255];
}

static uint32_t ekk_crc32c_tables(uint32_t crc, const uint8_t *p, size_t count) {
    for (; count >= 8; count -= 8, p += 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = ekk_crc_tables[7][low & 255] ^ ekk_crc_tables[6][low >> 8 & 255] ^
              ekk_crc_tables[5][low >> 16 & 255] ^ ekk_crc_tables[4][low >> 24] ^
              ekk_crc_tables[3][p[4]] ^ ekk_crc_tables[2][p[5]] ^ ekk_crc_tables[1][p[6]] ^
              ekk_crc_tables[0][p[7]];
    }
    for (; count; count--, p++)
        crc = crc >> 8 ^ ekk_crc_tables[0][(crc ^ *p) & 255];
    return crc;
}

#if defined(__GNUC__) && defined(__x86_64__)
/* The product of two polynomials modulo the CRC's; the highest bit is the coefficient of 1. */
static uint32_t ekk_multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0, bit;
    for (bit = 0x80000000u; bit; bit >>= 1) {
        product ^= b & (0u - !!(a & bit));
        b = b >> 1 ^ (0x82F63B78u & (0u - (b & 1)));
    }
    return product;
}

/* x^(8 count): what a CRC is multiplied by when count bytes follow. */
static uint32_t ekk_shift(size_t count) {
    uint32_t power = 0x80000000u, square = 0x00800000u;
    for (; count; count >>= 1, square = ekk_multiply(square, square))
        if (count & 1)
            power = ekk_multiply(power, square);
    return power;
}

/* The processor's own instruction, where it has one. It takes three cycles, but a new one can begin
   in each: long input is cut into three parts that go side by side. */
__attribute__((target("sse4.2"))) static uint32_t ekk_crc32c_sse(uint32_t crc, const uint8_t *p,
                                                                 size_t count) {
    uint64_t first = crc, second = 0, third = 0, word;
    size_t part = count / 24 * 8, i;
    uint32_t shift;
    if (count >= 4096) {
        for (i = 0; i < part; i += 8) {
            __builtin_memcpy(&word, p + i, 8);
            first = __builtin_ia32_crc32di(first, word);
            __builtin_memcpy(&word, p + part + i, 8);
            second = __builtin_ia32_crc32di(second, word);
            __builtin_memcpy(&word, p + 2 * part + i, 8);
            third = __builtin_ia32_crc32di(third, word);
        }
        shift = ekk_shift(part);
        first = ekk_multiply(shift, (uint32_t)first) ^ second;
        first = ekk_multiply(shift, (uint32_t)first) ^ third;
        p += 3 * part;
        count -= 3 * part;
    }
    for (; count >= 8; count -= 8, p += 8) {
        __builtin_memcpy(&word, p, 8);
        first = __builtin_ia32_crc32di(first, word);
    }
    crc = (uint32_t)first;
    for (; count; count--, p++)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
#endif

static uint32_t ekk_crc32c(uint32_t value, const uint8_t *bytes, size_t count) {
#if defined(__GNUC__) && defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~ekk_crc32c_sse(~value, bytes, count);
#endif
    return ~ekk_crc32c_tables(~value, bytes, count);
}

#if defined(__GNUC__) && defined(__x86_64__)
/* The decoder's EKD_LOOK_UP, sixteen codes at a time: a codebook of up to 64 values lies in four
   registers, and codes on a grid are converted. `out` may end where `codes` end: sixteen weights
   are written behind the codes that were read for them. */
__attribute__((target("avx512f"))) static uint32_t ekk_look_up_avx512(const float *weights,
                                                                      uint32_t values, float scale,
                                                                      const uint8_t *codes,
                                                                      uint32_t count, float *out) {
    const __m512 scales = _mm512_set1_ps(scale), step = _mm512_set1_ps(weights[1]);
    __m512 parts[4], numbers;
    uint32_t i;
    for (i = 0; i < 4; i++)
        parts[i] = _mm512_mul_ps(_mm512_loadu_ps(weights + 16 * i), scales);
    for (i = 0; i + 16 <= count; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(codes + i));
        if (values) {
            __m512i indices = _mm512_cvtepu8_epi32(bytes);
            __mmask16 is_high = _mm512_test_epi32_mask(indices, _mm512_set1_epi32(32));
            numbers = _mm512_permutex2var_ps(parts[0], indices, parts[1]);
            if (values > 32)
                numbers = _mm512_mask_blend_ps(is_high, numbers,
                                               _mm512_permutex2var_ps(parts[2], indices, parts[3]));
        } else {
            numbers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
            numbers = _mm512_mul_ps(_mm512_mul_ps(numbers, step), scales);
        }
        _mm512_storeu_ps(out + i, numbers);
    }
    return i;
}
#endif

/* Of the first codes, as the decoder's EKD_LOOK_UP; runs too short to gain are left to it. */
static uint32_t ekk_look_up(const float *weights, uint32_t values, float scale,
                            const uint8_t *codes, uint32_t count, float *out) {
#if defined(__GNUC__) && defined(__x86_64__)
    if (count >= 32 && values <= 64 && __builtin_cpu_supports("avx512f"))
        return ekk_look_up_avx512(weights, values, scale, codes, count, out);
#endif
    (void)weights, (void)values, (void)scale, (void)codes, (void)count, (void)out;
    return 0;
}

/* counts[256] of the bytes; four partial histograms, so that equal neighbours don't wait. */
static void ekk_histogram(const uint8_t *symbols, size_t count, int64_t *counts) {
    uint32_t parts[4][256];
    size_t i, k, end;
    for (i = 0; i < 256; i++)
        counts[i] = 0;
    while (count) {
        end = count < (size_t)1 << 30 ? count : (size_t)1 << 30;
        for (k = 0; k < 4; k++)
            for (i = 0; i < 256; i++)
                parts[k][i] = 0;
        for (i = 0; i + 4 <= end; i += 4) {
            parts[0][symbols[i]]++;
            parts[1][symbols[i + 1]]++;
            parts[2][symbols[i + 2]]++;
            parts[3][symbols[i + 3]]++;
        }
        for (; i < end; i++)
            parts[0][symbols[i]]++;
        for (k = 0; k < 4; k++)
            for (i = 0; i < 256; i++)
                counts[i] += parts[k][i];
        symbols += end;
        count -= end;
    }
}

/* Chapter 4.2. values and gaps have room for `count`; returns the number of gap symbols. */
static size_t ekk_split_gaps(const uint8_t *codes, size_t count, uint8_t *EKK_RESTRICT values,
                             uint8_t *EKK_RESTRICT gaps, size_t *value_count) {
    size_t i, run = 0, k = 0, g = 0;
    for (i = 0; i < count; i++) {
        if (!codes[i]) {
            run++;
            continue;
        }
        for (; run >= 255; run -= 255)
            gaps[g++] = 255;
        gaps[g++] = (uint8_t)run;
        values[k++] = codes[i];
        run = 0;
    }
    *value_count = k;
    return g;
}

/* Chapter 4.2. masks has room for ceil(count / 8); returns the number of values. */
static size_t ekk_split_mask(const uint8_t *codes, size_t count, uint8_t *EKK_RESTRICT values,
                             uint8_t *EKK_RESTRICT masks) {
    size_t i, j, k = 0;
    for (i = 0; i < count; i += 8) {
        unsigned mask = 0;
        for (j = 0; j < 8 && i + j < count; j++) {
            values[k] = codes[i + j];
            mask |= (unsigned)(codes[i + j] != 0) << j;
            k += codes[i + j] != 0;
        }
        masks[i / 8] = (uint8_t)mask;
    }
    return k;
}

/* Counts of gap symbols and mask bytes, summed over chunks. */
static void ekk_survey(const uint8_t *codes, size_t count, size_t chunk, int64_t *gaps,
                       int64_t *masks) {
    size_t start, end, i, j, run;
    for (i = 0; i < 256; i++)
        gaps[i] = masks[i] = 0;
    for (start = 0; start < count; start = end) {
        end = count - start < chunk ? count : start + chunk;
        run = 0;
        for (i = start; i < end; i += 8) {
            unsigned mask = 0;
            for (j = 0; j < 8 && i + j < end; j++) {
                if (!codes[i + j]) {
                    run++;
                    continue;
                }
                mask |= 1u << j;
                gaps[255] += (int64_t)(run / 255);
                gaps[run % 255]++;
                run = 0;
            }
            masks[mask]++;
        }
    }
}

/* One stream of the segment; returns its bytes. out has room for 12 bits a symbol and 8 bytes. */
static size_t ekk_encode_stream(const uint8_t *symbols, size_t count, const uint16_t *codes,
                                const uint8_t *lengths, uint8_t *out) {
    uint8_t *begin = out;
    uint64_t bits = 0;
    unsigned held = 0, k;
    size_t i;
    for (i = 0; i < count; i++) {
        bits |= (uint64_t)codes[symbols[i]] << held;
        held += lengths[symbols[i]];
        if (held >= 48) {
            for (k = 0; k < 6; k++)
                out[k] = (uint8_t)(bits >> 8 * k);
            out += 6;
            bits >>= 48;
            held -= 48;
        }
    }
    for (; held > 0; held = held > 8 ? held - 8 : 0, bits >>= 8)
        *out++ = (uint8_t)bits;
    return (size_t)(out - begin);
}

/* Chapter 4.6, backwards: the stream ends up at the end of `out`; returns its bytes. */
static size_t ekk_encode_rans(const uint8_t *symbols, size_t count, const uint16_t *frequencies,
                              uint8_t *out, size_t room) {
    uint32_t starts[256], states[4] = {65536, 65536, 65536, 65536}, sum = 0, x;
    uint8_t *end = out + room, *at = end;
    size_t i, k;
    for (i = 0; i < 256; i++) {
        starts[i] = sum;
        sum += frequencies[i];
    }
    if (!count)
        return 0;
    for (i = count; i-- > 0;) {
        uint32_t size = frequencies[symbols[i]];
        x = states[i & 3];
        if (x >> 20 >= size) {
            *--at = (uint8_t)(x >> 8);
            *--at = (uint8_t)x;
            x >>= 16;
        }
        states[i & 3] = (x / size << 12) + x % size + starts[symbols[i]];
    }
    for (k = 4; k-- > 0;) {
        at -= 4;
        for (i = 0; i < 4; i++)
            at[i] = (uint8_t)(states[k] >> 8 * i);
    }
    return (size_t)(end - at);
}

#endif
