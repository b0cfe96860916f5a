// Check sums and texts of packed files. SPDX: Apache-2.0

#include "edgekit_text.hpp"

#include <cstring>

namespace edgekit {
namespace {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// tables[k][byte]: what a byte becomes when k more zero bytes follow it.
Tables make_tables() {
    Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; byte++) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
        tables[0][byte] = crc;
    }
    for (std::size_t k = 1; k < 8; k++)
        for (std::size_t byte = 0; byte < 256; byte++)
            tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 255];
    return tables;
}

std::uint32_t little(const std::uint8_t *p) {
    return std::uint32_t(p[0]) | std::uint32_t(p[1]) << 8 | std::uint32_t(p[2]) << 16 |
           std::uint32_t(p[3]) << 24;
}

std::uint32_t big(const std::uint8_t *p) {
    return std::uint32_t(p[3]) | std::uint32_t(p[2]) << 8 | std::uint32_t(p[1]) << 16 |
           std::uint32_t(p[0]) << 24;
}

void put_big(std::uint32_t number, std::uint8_t *p) {
    for (int i = 0; i < 4; i++)
        p[i] = std::uint8_t(number >> (24 - 8 * i));
}

std::uint32_t rotate(std::uint32_t number, int places) {
    return number >> places | number << (32 - places);
}

constexpr std::array<std::uint32_t, 64> kRounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha256_block(std::array<std::uint32_t, 8> &state, const std::uint8_t *block) {
    std::array<std::uint32_t, 64> words;
    for (std::size_t i = 0; i < 16; i++)
        words[i] = big(block + 4 * i);
    for (std::size_t i = 16; i < 64; i++) {
        const std::uint32_t early = words[i - 15], late = words[i - 2];
        words[i] = words[i - 16] + words[i - 7] +
                   (rotate(early, 7) ^ rotate(early, 18) ^ early >> 3) +
                   (rotate(late, 17) ^ rotate(late, 19) ^ late >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (std::size_t i = 0; i < 64; i++) {
        const std::uint32_t first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                                    ((e & f) ^ (~e & g)) + kRounds[i] + words[i];
        const std::uint32_t second =
            (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + first;
        d = c, c = b, b = a, a = first + second;
    }
    const std::array<std::uint32_t, 8> added = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; i++)
        state[i] += added[i];
}

// A validator by recursive descent; each function moves `at` behind what it accepts.
class Json {
  public:
    explicit Json(const std::string &text) : at_(text.data()), end_(at_ + text.size()) {
    }

    bool is_object() {
        space();
        if (at_ == end_ || *at_ != '{' || !value(0))
            return false;
        space();
        return at_ == end_;
    }

  private:
    static constexpr int kDeepest = 900;

    void space() {
        while (at_ != end_ && std::strchr(" \t\n\r", *at_) && *at_)
            at_++;
    }

    bool take(char wanted) {
        if (at_ == end_ || *at_ != wanted)
            return false;
        at_++;
        return true;
    }

    bool word(const char *wanted) {
        for (; *wanted; wanted++)
            if (!take(*wanted))
                return false;
        return true;
    }

    bool digits() {
        const char *start = at_;
        while (at_ != end_ && *at_ >= '0' && *at_ <= '9')
            at_++;
        return at_ != start;
    }

    bool number() {
        take('-');
        if (!take('0') && !digits())
            return false;
        if (take('.') && !digits())
            return false;
        if (take('e') || take('E')) {
            if (!take('+'))
                take('-');
            return digits();
        }
        return true;
    }

    bool escape() {
        if (take('u')) {
            for (int i = 0; i < 4; i++, at_++)
                if (at_ == end_ || !*at_ || !std::strchr("0123456789abcdefABCDEF", *at_))
                    return false;
            return true;
        }
        if (at_ == end_ || !*at_ || !std::strchr("\"\\/bfnrt", *at_))
            return false;
        at_++;
        return true;
    }

    bool string() {
        if (!take('"'))
            return false;
        while (!take('"')) {
            if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20)
                return false;
            if (*at_++ == '\\' && !escape())
                return false;
        }
        return true;
    }

    bool members(char close, bool has_names, int depth) {
        space();
        if (take(close))
            return true;
        do {
            space();
            if (has_names) {
                if (!string())
                    return false;
                space();
                if (!take(':'))
                    return false;
                space();
            }
            if (!value(depth + 1))
                return false;
            space();
        } while (take(','));
        return take(close);
    }

    bool value(int depth) {
        if (depth > kDeepest || at_ == end_)
            return false;
        switch (*at_) {
        case '{':
            at_++;
            return members('}', true, depth);
        case '[':
            at_++;
            return members(']', false, depth);
        case '"':
            return string();
        case 't':
            return word("true");
        case 'f':
            return word("false");
        case 'n':
            return word("null");
        default:
            return number();
        }
    }

    const char *at_;
    const char *end_;
};

} // namespace

std::uint32_t crc32c(const std::uint8_t *bytes, std::size_t count) {
    static const Tables tables = make_tables();
    std::uint32_t crc = 0xFFFFFFFFu;
    for (; count >= 8; count -= 8, bytes += 8) {
        const std::uint32_t low = crc ^ little(bytes), high = little(bytes + 4);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
              tables[4][low >> 24] ^ tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
              tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
    }
    for (; count; count--, bytes++)
        crc = crc >> 8 ^ tables[0][(crc ^ *bytes) & 255];
    return ~crc;
}

std::array<std::uint8_t, 32> sha256(const std::uint8_t *bytes, std::size_t count) {
    std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const std::uint64_t bits = std::uint64_t(count) * 8;
    for (; count >= 64; count -= 64, bytes += 64)
        sha256_block(state, bytes);
    // What is left, a bit of 1, zeros, and the length in bits: one block or two.
    std::array<std::uint8_t, 128> tail{};
    std::memcpy(tail.data(), bytes, count);
    tail[count] = 0x80;
    const std::size_t blocks = count < 56 ? 1 : 2;
    put_big(std::uint32_t(bits >> 32), tail.data() + 64 * blocks - 8);
    put_big(std::uint32_t(bits), tail.data() + 64 * blocks - 4);
    for (std::size_t i = 0; i < blocks; i++)
        sha256_block(state, tail.data() + 64 * i);
    std::array<std::uint8_t, 32> digest;
    for (std::size_t i = 0; i < 8; i++)
        put_big(state[i], digest.data() + 4 * i);
    return digest;
}

bool is_utf8(const std::string &text) {
    // The least character of each length: a longer form of a smaller one isn't allowed.
    static constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (std::size_t i = 0; i < text.size();) {
        const auto first = static_cast<unsigned char>(text[i++]);
        if (first < 0x80)
            continue;
        const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC0 || first > 0xF7 || text.size() - i < std::size_t(more))
            return false;
        std::uint32_t character = first & (0x3Fu >> more);
        for (int k = 0; k < more; k++) {
            const auto next = static_cast<unsigned char>(text[i++]);
            if (next >> 6 != 2)
                return false;
            character = character << 6 | (next & 0x3Fu);
        }
        if (character < least[more] || character > 0x10FFFF || character >> 11 == 0x1B)
            return false;
    }
    return true;
}

bool is_json_object(const std::string &text) {
    return is_utf8(text) && Json(text).is_object();
}

} // namespace edgekit
