// Runs a packed model on a batch of inputs through edgekit::Model, by path and from memory.
//
// usage: outputs FILE.ekp INPUTS COUNT THREADS
//
// INPUTS: float32 numbers of COUNT inputs, one behind another. The first output of all of them
// follows on stdout as float32.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "edgekit_model.hpp"

namespace {

std::vector<char> read(const char *path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<float> run(edgekit::Model &model, std::vector<float> &inputs, std::int64_t count) {
    Ort::AllocatorWithDefaultOptions allocator;
    Ort::Session &session = model.session();
    auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    shape[0] = count;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    const Ort::Value value = Ort::Value::CreateTensor<float>(memory, inputs.data(), inputs.size(),
                                                             shape.data(), shape.size());
    const auto in = session.GetInputNameAllocated(0, allocator);
    const auto out = session.GetOutputNameAllocated(0, allocator);
    const char *ins[] = {in.get()}, *outs[] = {out.get()};
    const auto results = session.Run(Ort::RunOptions{nullptr}, ins, &value, 1, outs, 1);
    const float *numbers = results[0].GetTensorData<float>();
    return {numbers, numbers + results[0].GetTensorTypeAndShapeInfo().GetElementCount()};
}

} // namespace

int main(int count, char **words) {
    if (count != 5)
        return 2;
    try {
        const std::vector<char> bytes = read(words[2]);
        std::vector<float> inputs(bytes.size() / sizeof(float));
        std::memcpy(inputs.data(), bytes.data(), inputs.size() * sizeof(float));
        edgekit::Options options;
        options.threads = static_cast<unsigned>(std::atoi(words[4]));
        edgekit::Model by_path = edgekit::Model::open(words[1], options);
        // A model that is moved, or whose bytes are the caller's, answers the same.
        const std::vector<char> file = read(words[1]);
        edgekit::Model from_memory = edgekit::Model::from_memory(
            reinterpret_cast<const std::uint8_t *>(file.data()), file.size(), options);
        edgekit::Model moved = std::move(from_memory);
        const auto outputs = run(by_path, inputs, std::atoi(words[3]));
        if (run(moved, inputs, std::atoi(words[3])) != outputs) {
            std::fputs("by path and from memory differ\n", stderr);
            return 3;
        }
        moved.verify();
        std::fwrite(outputs.data(), sizeof(float), outputs.size(), stdout);
    } catch (const edgekit::Error &error) {
        std::fprintf(stderr, "%s: %s\n", error.name(), error.what());
        return 4;
    }
    return 0;
}
