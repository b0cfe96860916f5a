// Decodes packed files with the C++ app's reader and prints what they hold.
//
// usage: harness THREADS FILE...
//
// For each tensor the CRC-32C of its restored elements in little-endian order, then a line for the
// file: "ok" or the error's name, and the path.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "edgekit_packed.hpp"
#include "edgekit_text.hpp"

namespace {

bool is_little_endian() {
    const std::uint16_t one = 1;
    std::uint8_t low;
    std::memcpy(&low, &one, 1);
    return low == 1;
}

void print_tensor(const ekd_tensor &tensor, const void *elements) {
    const std::size_t width = ekd_restored_bytes(&tensor);
    std::vector<std::uint8_t> bytes(tensor.elements * width);
    if (!bytes.empty())
        std::memcpy(bytes.data(), elements, bytes.size());
    if (!is_little_endian())
        for (std::size_t i = 0; i < bytes.size(); i++)
            bytes[i] = static_cast<const std::uint8_t *>(
                elements)[i / width * width + (width - 1 - i % width)];
    std::printf("  %08lx\n",
                static_cast<unsigned long>(edgekit::crc32c(bytes.data(), bytes.size())));
}

} // namespace

int main(int count, char **words) {
    const auto threads = static_cast<unsigned>(count > 1 ? std::atoi(words[1]) : 0);
    for (int i = 2; i < count; i++) {
        const char *result = "ok";
        try {
            const edgekit::PackedFile file = edgekit::PackedFile::open(words[i]);
            const edgekit::Weights weights = file.decode(threads);
            file.verify();
            for (std::size_t t = 0; t < file.tensors().size(); t++)
                print_tensor(file.tensors()[t], weights.tensor(t));
        } catch (const edgekit::FormatError &error) {
            result = error.name();
        }
        std::printf("%s %s\n", result, words[i]);
    }
    return 0;
}
