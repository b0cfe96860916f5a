// Packed models (.ekp) as onnxruntime sessions, without writing a file.
//
//     edgekit::Model model = edgekit::Model::open("model.ekp");
//     auto outputs = model.session().Run(Ort::RunOptions{}, ...);
//
// A Model owns what must live as long as its session: onnxruntime reads some of the decoded weights
// in place, and freed ones would give wrong answers without an error. SPDX: Apache-2.0

#ifndef EDGEKIT_MODEL_HPP
#define EDGEKIT_MODEL_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <onnxruntime_cxx_api.h>

#include "edgekit_packed.hpp"

namespace edgekit {

struct Options {
    // For decoding and for each operator; 0 takes one a processor.
    unsigned threads = 0;
    // The most that the restored weights may take.
    std::uint64_t max_bytes = kMaxRestoredBytes;
};

class Model {
  public:
    // A file, mapped into memory. Throws InputError, FormatError and ModelFileError.
    static Model open(const std::string &path, const Options &options = {});

    // Bytes that outlive the model, such as those that are linked into the program.
    static Model from_memory(const std::uint8_t *data, std::size_t size,
                             const Options &options = {});

    // session: options to extend, for anything that Options doesn't have, such as execution
    // providers; weights are added to them. onnxruntime's own threads are set there, not here.
    Model(PackedFile file, const Options &options, Ort::SessionOptions session);

    Ort::Session &session() {
        return session_;
    }
    // The packed file: names, shapes and types of its tensors, and its manifest.
    const PackedFile &file() const {
        return file_;
    }
    std::pair<int, int> version() const {
        return file_.version();
    }
    std::string digest() const {
        return file_.digest();
    }
    // Reads the whole file again. Throws ChecksumError that names the tensor.
    void verify() const {
        file_.verify();
    }

  private:
    // In this order: the session goes first.
    Ort::Env env_;
    PackedFile file_;
    Weights weights_;
    std::vector<Ort::Value> values_;
    Ort::Session session_{nullptr};
};

} // namespace edgekit

#endif
