// One inference of a float ONNX file or of a packed file, with the same options.
//
// usage: cpp_start MODEL INPUT THREADS

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "edgekit_model.hpp"

namespace {

void run(Ort::Session &session, const char *path) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file),
                                  std::istreambuf_iterator<char>()};
    std::vector<float> input(bytes.size() / sizeof(float));
    std::memcpy(input.data(), bytes.data(), input.size() * sizeof(float));
    auto shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    shape[0] = 1;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    const Ort::Value value = Ort::Value::CreateTensor<float>(memory, input.data(), input.size(),
                                                             shape.data(), shape.size());
    Ort::AllocatorWithDefaultOptions allocator;
    const auto in = session.GetInputNameAllocated(0, allocator);
    const auto out = session.GetOutputNameAllocated(0, allocator);
    const char *ins[] = {in.get()}, *outs[] = {out.get()};
    const auto results = session.Run(Ort::RunOptions{nullptr}, ins, &value, 1, outs, 1);
    std::printf("%f\n", double(results[0].GetTensorData<float>()[0]));
    std::fflush(stdout);
}

} // namespace

int main(int count, char **words) {
    if (count != 4)
        return 2;
    const std::string model = words[1];
    const int threads = std::atoi(words[3]);
    if (model.size() > 4 && model.substr(model.size() - 4) == ".ekp") {
        edgekit::Options options;
        options.threads = static_cast<unsigned>(threads);
        edgekit::Model packed = edgekit::Model::open(model, options);
        run(packed.session(), words[2]);
    } else {
        Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "float");
        Ort::SessionOptions session;
        session.SetIntraOpNumThreads(threads);
        session.SetInterOpNumThreads(1);
        session.AddConfigEntry("session.intra_op.allow_spinning", "0");
        Ort::Session plain(env, model.c_str(), session);
        run(plain, words[2]);
    }
    return 0;
}
