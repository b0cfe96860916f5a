// Reading packed files: what the C decoder leaves out (names, skeleton, manifest, SHA-256), and its
// work shared out among threads. SPDX: Apache-2.0

#include "edgekit_packed.hpp"
#include "edgekit_text.hpp"

#define EKD_CRC32C(bytes, count) edgekit::crc32c(bytes, count)
#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <set>
#include <system_error>
#include <thread>

#include <zlib.h>

#if defined(__unix__) || defined(__APPLE__)
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#include <fstream>
#include <iterator>
#endif

namespace edgekit {
namespace {

enum : unsigned { kNames = 3, kSkeleton = 4, kManifest = 5 };       // 2.3
constexpr std::uint64_t kMaxNamesBytes = std::uint64_t(1) << 26;    // chapter 8
constexpr std::uint64_t kMaxSkeletonBytes = std::uint64_t(1) << 28; // chapter 8
constexpr std::uint64_t kMaxManifestBytes = std::uint64_t(1) << 24; // chapter 8
constexpr std::uint64_t kMaxDeflateRatio = 1032;                    // 2.3
constexpr std::size_t kSha256Bytes = 32;                            // 2.5
constexpr std::size_t kAlignment = 64;
constexpr std::uint32_t kTaskElements = std::uint32_t(1) << 18;
// Enough that a thread's tables pay, and few enough that the last task doesn't hold the others up.

// Some chunks of a tensor, or all of a constant one, and where they go.
struct Task {
    const ekd_tensor *tensor;
    ekd_chunk first;
    std::uint32_t chunks;
    std::uint8_t *out;
    std::size_t out_bytes;
};

ekd_result run(const ekd_file &file, const Task &task, void *scratch) {
    if (!task.chunks)
        return ekd_decode_restored(&file, task.tensor, scratch, EKD_WORK_FAST, task.out,
                                   task.out_bytes);
    const std::size_t width = ekd_restored_bytes(task.tensor);
    ekd_decoder decoder;
    ekd_chunk chunk = task.first;
    ekd_result result = ekd_begin(&file, task.tensor, scratch, EKD_WORK_FAST, &decoder);
    for (std::uint32_t i = 0; result == EKD_OK && i < task.chunks; i++) {
        if (i)
            result = ekd_next_chunk(&file, task.tensor, &chunk);
        if (result == EKD_OK)
            result = ekd_restore_chunk(&decoder, &chunk, task.out + chunk.first * width,
                                       chunk.elements * width);
    }
    return result;
}

using Scratch = std::unique_ptr<std::uint64_t[]>;

Scratch make_scratch() {
    return Scratch(new std::uint64_t[EKD_WORK_FAST / sizeof(std::uint64_t) + 1]);
}

// Calls of `job` with 0 to count - 1, each once, on so many threads with a scratch memory each.
void share_out(std::size_t count, unsigned threads,
               const std::function<void(std::size_t, void *)> &job) {
    std::atomic<std::size_t> next{0};
    const auto work = [&](const Scratch &scratch) {
        for (std::size_t i = next++; i < count; i = next++)
            job(i, scratch.get());
    };
    const Scratch own = make_scratch();
    std::vector<std::thread> others;
    others.reserve(std::min<std::size_t>(threads, count));
    try {
        for (unsigned i = 1; i < threads && i < count; i++)
            others.emplace_back(work, make_scratch());
    } catch (const std::system_error &) {
        // No more threads to be had: those that run do it all.
    } catch (const std::bad_alloc &) {
        // No memory for another one: the same.
    }
    work(own);
    for (std::thread &thread : others)
        thread.join();
}

std::string inflated(const std::uint8_t *packed, std::size_t size, std::size_t length) {
    // One byte more than promised, so that a longer text shows itself.
    std::string text(length + 1, '\0');
    z_stream stream{};
    stream.next_in = const_cast<Bytef *>(packed);
    stream.avail_in = static_cast<uInt>(size);
    stream.next_out = reinterpret_cast<Bytef *>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    if (inflateInit(&stream) != Z_OK)
        throw std::bad_alloc();
    const int result = inflate(&stream, Z_FINISH);
    const bool is_exact =
        result == Z_STREAM_END && stream.total_out == length && stream.avail_in == 0;
    inflateEnd(&stream);
    if (!is_exact)
        throw CorruptError("a text of the packed file doesn't unpack to exactly " +
                           std::to_string(length) + " bytes");
    text.pop_back();
    return text;
}

std::vector<std::string> split_names(const std::string &text, std::size_t count) {
    std::vector<std::string> names;
    std::size_t start = 0, end;
    while ((end = text.find('\0', start)) != std::string::npos) {
        names.push_back(text.substr(start, end - start));
        start = end + 1;
    }
    if (names.size() != count || start != text.size())
        throw CorruptError("the packed file hasn't " + std::to_string(count) + " names");
    if (!is_utf8(text))
        throw CorruptError("a name of the packed file isn't UTF-8");
    if (std::find(names.begin(), names.end(), "") != names.end())
        throw CorruptError("a tensor of the packed file has no name");
    if (std::set<std::string>(names.begin(), names.end()).size() != count)
        throw CorruptError("two tensors of the packed file have the same name");
    return names;
}

} // namespace

void Weights::Free::operator()(std::uint8_t *block) const {
    ::operator delete(block, std::align_val_t(kAlignment));
}

PackedFile::PackedFile(Bytes bytes, std::uint64_t max_bytes) : bytes_(std::move(bytes)), file_() {
    ekd_result result = ekd_open(bytes_.data, bytes_.size, &file_);
    if (result != EKD_OK)
        fail(result, nullptr);
    ekd_tensor tensor;
    max_bytes = std::min<std::uint64_t>(max_bytes, std::numeric_limits<std::size_t>::max() / 2);
    std::uint64_t left = max_bytes;
    for (result = ekd_first(&file_, &tensor); result == EKD_OK;
         result = ekd_next(&file_, &tensor)) {
        const std::uint64_t needed = std::uint64_t(tensor.elements) * ekd_restored_bytes(&tensor);
        if (needed > left)
            throw LimitError("the weights take more than the " + std::to_string(max_bytes) +
                             " bytes that the caller allows");
        left -= needed;
        tensors_.push_back(tensor);
    }
    if (result != EKD_END)
        fail(result, nullptr);
    names_ = split_names(unpack(kNames, kMaxNamesBytes), tensors_.size());
    skeleton_ = unpack(kSkeleton, kMaxSkeletonBytes);
    manifest_ = unpack(kManifest, kMaxManifestBytes);
    if (!is_json_object(manifest_))
        throw CorruptError("the manifest of the packed file isn't a JSON object");
}

std::pair<int, int> PackedFile::version() const {
    return {int(ekd__u16(bytes_.data + 8)), int(ekd__u16(bytes_.data + 10))};
}

std::string PackedFile::digest() const {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = bytes_.size - kSha256Bytes; i < bytes_.size; i++) {
        text += digits[bytes_.data[i] >> 4];
        text += digits[bytes_.data[i] & 15];
    }
    return text;
}

// A packed section of chapter 2.3. The directory was checked by ekd_open.
std::string PackedFile::unpack(unsigned kind, std::uint64_t limit) const {
    const std::uint8_t *entry = bytes_.data + 32 + 24 * std::size_t(kind - 1);
    const std::uint8_t *packed = bytes_.data + std::size_t(ekd__u64(entry + 8));
    std::uint64_t size = ekd__u64(entry + 16);
    if (size < 4)
        throw TruncatedError("a text of the packed file ends inside its length");
    const std::uint64_t length = ekd__u32(packed);
    size -= 4;
    if (length > limit || size > std::numeric_limits<uInt>::max())
        throw LimitError("a text of the packed file unpacks to " + std::to_string(length) +
                         " bytes, more than " + std::to_string(limit));
    if (length > kMaxDeflateRatio * size)
        throw CorruptError(std::to_string(size) + " bytes can't unpack to " +
                           std::to_string(length));
    return inflated(packed + 4, std::size_t(size), std::size_t(length));
}

void PackedFile::check_sha256() const {
    const std::size_t size = bytes_.size - kSha256Bytes;
    const auto digest = edgekit::sha256(bytes_.data, size);
    if (!std::equal(digest.begin(), digest.end(), bytes_.data + size))
        throw ChecksumError("the packed file doesn't match its SHA-256; get it again");
}

Weights PackedFile::decode(unsigned threads) const {
    Weights weights;
    std::size_t size = 0;
    for (const ekd_tensor &tensor : tensors_) {
        weights.offsets_.push_back(size);
        const std::size_t bytes = tensor.elements * ekd_restored_bytes(&tensor);
        size += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    weights.block_.reset(static_cast<std::uint8_t *>(
        ::operator new(std::max(size, kAlignment), std::align_val_t(kAlignment))));

    std::vector<Task> tasks;
    for (std::size_t i = 0; i < tensors_.size(); i++) {
        const ekd_tensor *tensor = &tensors_[i];
        const std::size_t bytes = tensor->elements * ekd_restored_bytes(tensor);
        auto *out = static_cast<std::uint8_t *>(weights.tensor(i));
        if (tensor->mode == EKD_CONSTANT) {
            tasks.push_back({tensor, {}, 0, out, bytes});
            continue;
        }
        const std::uint32_t most = std::max<std::uint32_t>(1, kTaskElements >> tensor->chunk_log2);
        ekd_chunk chunk;
        ekd_result result = ekd_first_chunk(&file_, tensor, &chunk);
        for (std::uint32_t number = 0; result == EKD_OK; number++) {
            if (number % most == 0)
                tasks.push_back({tensor, chunk, 0, out, bytes});
            tasks.back().chunks++;
            result = ekd_next_chunk(&file_, tensor, &chunk);
        }
        if (result != EKD_END)
            fail(result, tensor);
    }

    // Job 0 is the SHA-256, which takes about as long as decoding; its error comes first.
    std::vector<ekd_result> results(tasks.size(), EKD_OK);
    std::exception_ptr wrong_sha256;
    const auto job = [&](std::size_t number, void *scratch) {
        if (number == 0) {
            try {
                check_sha256();
            } catch (const ChecksumError &) {
                wrong_sha256 = std::current_exception();
            }
            return;
        }
        results[number - 1] = run(file_, tasks[number - 1], scratch);
    };
    const unsigned processors = std::max(1u, std::thread::hardware_concurrency());
    share_out(tasks.size() + 1, threads ? threads : processors, job);
    if (wrong_sha256)
        std::rethrow_exception(wrong_sha256);
    for (std::size_t i = 0; i < tasks.size(); i++)
        if (results[i] != EKD_OK)
            fail(results[i], tasks[i].tensor);
    return weights;
}

void PackedFile::verify() const {
    check_sha256();
    for (const ekd_tensor &tensor : tensors_) {
        if (tensor.mode == EKD_CONSTANT)
            continue;
        ekd_chunk chunk;
        ekd_result result = ekd_first_chunk(&file_, &tensor, &chunk);
        for (; result == EKD_OK; result = ekd_next_chunk(&file_, &tensor, &chunk))
            if (crc32c(bytes_.data + chunk.data_at, chunk.bytes) != chunk.crc32c)
                fail(EKD_CHECKSUM, &tensor);
        if (result != EKD_END)
            fail(result, &tensor);
    }
}

void PackedFile::fail(ekd_result result, const ekd_tensor *tensor) const {
    const char *advice = result == EKD_VERSION ? "use a newer edgekit" : "get it again";
    std::string message = std::string("the packed file is ") +
                          (result == EKD_VERSION    ? "of another version"
                           : result == EKD_CHECKSUM ? "damaged"
                           : result == EKD_LIMIT    ? "over a limit"
                                                    : ekd_result_name(result)) +
                          "; " + advice;
    if (tensor)
        message += " (tensor " + names_.at(tensor->index) + ")";
    switch (result) {
    case EKD_TRUNCATED:
        throw TruncatedError(message);
    case EKD_CHECKSUM:
        throw ChecksumError(message);
    case EKD_VERSION:
        throw VersionError(message);
    case EKD_CORRUPT:
        throw CorruptError(message);
    case EKD_LIMIT:
        throw LimitError(message);
    default:
        throw FormatError(message);
    }
}

#if defined(__unix__) || defined(__APPLE__)
Bytes map_file(const std::string &path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (file < 0 || ::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        const std::string reason = file < 0 ? std::strerror(errno) : "not a regular file";
        if (file >= 0)
            ::close(file);
        throw InputError("can't read " + path + ": " + reason);
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    // No system maps nothing at all.
    void *data = size ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
    const std::string reason = data == MAP_FAILED ? std::strerror(errno) : "";
    ::close(file);
    if (data == MAP_FAILED)
        throw InputError("can't read " + path + ": " + reason);
    const auto unmap = [size](const void *begin) {
        if (begin)
            ::munmap(const_cast<void *>(begin), size);
    };
    return {static_cast<const std::uint8_t *>(data), size,
            std::shared_ptr<const void>(static_cast<const void *>(data), unmap)};
}
#else
Bytes map_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    auto text = std::make_shared<const std::string>(std::istreambuf_iterator<char>(file),
                                                    std::istreambuf_iterator<char>());
    if (!file.good() && !file.eof())
        throw InputError("can't read " + path);
    return {reinterpret_cast<const std::uint8_t *>(text->data()), text->size(), text};
}
#endif

} // namespace edgekit
