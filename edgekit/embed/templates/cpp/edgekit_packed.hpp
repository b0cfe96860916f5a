// Packed models (.ekp) in C++17: checked, then decoded into memory on several threads.
//
//     edgekit::PackedFile file = edgekit::PackedFile::open("model.ekp");
//     edgekit::Weights weights = file.decode();
//     const float *first = static_cast<const float *>(weights.tensor(0));
//
// Needs edgekit_decode.h and zlib. Any bytes may be given as a file: what breaks the format ends in
// an exception that names the rule. Chapter numbers are docs/format.md's. SPDX: Apache-2.0

#ifndef EDGEKIT_PACKED_HPP
#define EDGEKIT_PACKED_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "edgekit_decode.h"

namespace edgekit {

// Everything that is thrown on purpose, with the names that Python has too:
//
//     Error
//     └── InputError              a file that can't be read
//         ├── ModelFileError        onnxruntime refuses the graph
//         └── FormatError           a packed file that breaks docs/format.md
//             ├── TruncatedError      ends before a record or stream does
//             ├── ChecksumError       a CRC-32C or the SHA-256 doesn't match
//             ├── VersionError        a newer major version or an unknown feature
//             ├── CorruptError        a value that the specification forbids
//             └── LimitError          larger than a stated limit
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
    // Of the class, for logs.
    virtual const char *name() const noexcept {
        return "Error";
    }
};

#define EDGEKIT_ERROR(NAME, BASE)                                                                  \
    class NAME : public BASE {                                                                     \
      public:                                                                                      \
        using BASE::BASE;                                                                          \
        const char *name() const noexcept override {                                               \
            return #NAME;                                                                          \
        }                                                                                          \
    }
EDGEKIT_ERROR(InputError, Error);
EDGEKIT_ERROR(ModelFileError, InputError);
EDGEKIT_ERROR(FormatError, InputError);
EDGEKIT_ERROR(TruncatedError, FormatError);
EDGEKIT_ERROR(ChecksumError, FormatError);
EDGEKIT_ERROR(VersionError, FormatError);
EDGEKIT_ERROR(CorruptError, FormatError);
EDGEKIT_ERROR(LimitError, FormatError);
#undef EDGEKIT_ERROR

// A file's bytes and what keeps them alive; null for memory that the caller keeps.
struct Bytes {
    const std::uint8_t *data;
    std::size_t size;
    std::shared_ptr<const void> owner;
};

// A file mapped into memory, where the system can. It must not be changed in place meanwhile: put a
// new one beside it and rename it. Throws InputError.
Bytes map_file(const std::string &path);

// Restored weights of all tensors in one block, each aligned to 64 bytes and in this machine's byte
// order.
class Weights {
  public:
    const void *tensor(std::size_t index) const {
        return block_.get() + offsets_[index];
    }
    void *tensor(std::size_t index) {
        return block_.get() + offsets_[index];
    }

  private:
    friend class PackedFile;
    struct Free {
        void operator()(std::uint8_t *block) const;
    };
    std::unique_ptr<std::uint8_t, Free> block_;
    std::vector<std::size_t> offsets_;
};

constexpr std::uint64_t kMaxRestoredBytes = std::uint64_t(1) << 32; // chapter 8

// A packed file whose header, sections and records hold. Chunks and SHA-256 are checked by decode
// and verify, which read all of it.
class PackedFile {
  public:
    // max_bytes: the most that the restored weights may take. Throws InputError and FormatError.
    explicit PackedFile(Bytes bytes, std::uint64_t max_bytes = kMaxRestoredBytes);
    static PackedFile open(const std::string &path, std::uint64_t max_bytes = kMaxRestoredBytes) {
        return PackedFile(map_file(path), max_bytes);
    }

    // Major and minor version of the format.
    std::pair<int, int> version() const;
    // The SHA-256 that the file ends with, of all bytes before it, as 64 hexadecimal digits; it
    // identifies the file.
    std::string digest() const;
    // JSON: where the file comes from and how it was made.
    const std::string &manifest() const {
        return manifest_;
    }
    // The serialized ONNX graph without weights.
    const std::string &skeleton() const {
        return skeleton_;
    }
    const std::vector<std::string> &names() const {
        return names_;
    }
    // Shape (dims, rank), restored type (EKD_TYPE_...) and elements of each tensor.
    const std::vector<ekd_tensor> &tensors() const {
        return tensors_;
    }

    // All weights. threads: 0 takes one a processor. Throws FormatError that names the tensor.
    Weights decode(unsigned threads = 0) const;

    // The SHA-256 and each tensor's CRC-32C. Throws ChecksumError that names the tensor.
    void verify() const;

  private:
    std::string unpack(unsigned kind, std::uint64_t limit) const;
    void check_sha256() const;
    [[noreturn]] void fail(ekd_result result, const ekd_tensor *tensor) const;

    Bytes bytes_;
    ekd_file file_;
    std::vector<ekd_tensor> tensors_;
    std::vector<std::string> names_;
    std::string skeleton_;
    std::string manifest_;
};

} // namespace edgekit

#endif
