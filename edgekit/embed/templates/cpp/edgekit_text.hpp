// Check sums and texts of packed files: CRC-32C, SHA-256, UTF-8 and JSON. SPDX: Apache-2.0

#ifndef EDGEKIT_TEXT_HPP
#define EDGEKIT_TEXT_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace edgekit {

// Castagnoli's CRC, eight bytes at a time (chapter 1).
std::uint32_t crc32c(const std::uint8_t *bytes, std::size_t count);

// FIPS 180-4.
std::array<std::uint8_t, 32> sha256(const std::uint8_t *bytes, std::size_t count);

// No surrogates, no long forms, nothing above U+10FFFF (RFC 3629).
bool is_utf8(const std::string &text);

// Whether a text is one JSON object (RFC 8259), nested less than 900 deep.
bool is_json_object(const std::string &text);

} // namespace edgekit

#endif
