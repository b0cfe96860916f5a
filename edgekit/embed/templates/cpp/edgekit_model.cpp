// Packed models as onnxruntime sessions. SPDX: Apache-2.0

#include "edgekit_model.hpp"

#include <cstdlib>

namespace edgekit {
namespace {

// A folder that holds nothing. A hostile graph may name a file where it should leave a weight to us
// (2.3), and onnxruntime would look for it from the working directory on.
#ifdef _WIN32
constexpr char kNowhere[] = "NUL";
#else
constexpr char kNowhere[] = "/dev/null";
#endif

// Python's `load` sets the same: idle threads sleep instead of spinning.
Ort::SessionOptions session_options(const Options &options) {
    Ort::SessionOptions session;
    session.SetIntraOpNumThreads(static_cast<int>(options.threads));
    session.SetInterOpNumThreads(1);
    session.SetLogSeverityLevel(ORT_LOGGING_LEVEL_ERROR);
    session.AddConfigEntry("session.intra_op.allow_spinning", "0");
    return session;
}

ONNXTensorElementDataType element_type(const ekd_tensor &tensor) {
    switch (tensor.restored) {
    case EKD_TYPE_F32:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case EKD_TYPE_F16:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case EKD_TYPE_BF16:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
    case EKD_TYPE_F64:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    case EKD_TYPE_I8:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case EKD_TYPE_U8:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case EKD_TYPE_I32:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case EKD_TYPE_I64:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    default:
        return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    }
}

// Tensors that lie in `weights`, without a copy.
std::vector<Ort::Value> make_values(const PackedFile &file, Weights &weights) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    std::vector<Ort::Value> values;
    for (std::size_t i = 0; i < file.tensors().size(); i++) {
        const ekd_tensor &tensor = file.tensors()[i];
        const std::vector<std::int64_t> shape(tensor.dims, tensor.dims + tensor.rank);
        values.push_back(Ort::Value::CreateTensor(
            memory, weights.tensor(i), tensor.elements * ekd_restored_bytes(&tensor), shape.data(),
            shape.size(), element_type(tensor)));
    }
    return values;
}

// onnxruntime's own builds send telemetry from their first environment on, unless this is set. A
// value that the user has set stays.
Ort::Env make_env() {
#ifdef _WIN32
    if (!std::getenv("ORT_DISABLE_TELEMETRY"))
        _putenv_s("ORT_DISABLE_TELEMETRY", "1");
#else
    ::setenv("ORT_DISABLE_TELEMETRY", "1", 0);
#endif
    return Ort::Env(ORT_LOGGING_LEVEL_ERROR, "edgekit");
}

} // namespace

Model Model::open(const std::string &path, const Options &options) {
    return Model(PackedFile::open(path, options.max_bytes), options, session_options(options));
}

Model Model::from_memory(const std::uint8_t *data, std::size_t size, const Options &options) {
    return Model(PackedFile({data, size, nullptr}, options.max_bytes), options,
                 session_options(options));
}

Model::Model(PackedFile file, const Options &options, Ort::SessionOptions session)
    : env_(make_env()), file_(std::move(file)), weights_(file_.decode(options.threads)) {
    try {
        values_ = make_values(file_, weights_);
        session.AddConfigEntry("session.model_external_initializers_file_folder_path", kNowhere);
        if (!values_.empty())
            session.AddExternalInitializers(file_.names(), values_);
        session_ = Ort::Session(env_, file_.skeleton().data(), file_.skeleton().size(), session);
    } catch (const Ort::Exception &error) {
        throw ModelFileError(std::string("onnxruntime can't load this model: ") + error.what());
    }
}

} // namespace edgekit
