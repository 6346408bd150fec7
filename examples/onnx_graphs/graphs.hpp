// A bundle's graphs, ridge head, by ONNX Runtime's C++ API: photos in, species out. README.md describes the tensors.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "photo.hpp"

namespace hmdrn {

constexpr float kUnconverged = 0.02f;  // residual of a solve above which its operator is rejected

// Result of classify for one photo and all classes.
struct Distances {
    std::vector<float> high;
    std::vector<float> mid;
    std::vector<float> logits;  // the largest one is the prediction
};

class Graphs {
public:
    // `folder`: a variant's graphs, e.g. birds.hmdrn/graphs/fp32; `threads`: of the CPU, for one call.
    explicit Graphs(const std::filesystem::path& folder, int threads = 1) {
        options_.SetIntraOpNumThreads(threads);
        enroll_ = open(folder / "enroll.onnx");
        solve_ = open(folder / "solve.onnx");
        classify_ = open(folder / "classify.onnx");
        const auto gram = solve_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
        if (gram.size() != 2 || gram[1] <= 0) {
            throw std::runtime_error(folder.string() + " does not hold the graphs of a ridge head");
        }
        packed_ = gram[1];
        const auto images = enroll_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
        side_ = static_cast<int>(images.at(1));
    }

    // Side of the network's input in pixels; the manifest has it as input.size.
    int side() const { return side_; }

    // Sums the packed Gram matrices of a class's photos, in double so that order hardly matters.
    std::vector<double> sum_grams(std::vector<Photo> inputs) {
        std::vector<double> sum(packed_);
        for (Photo& input : inputs) {
            Ort::Value images = image(input);
            const auto outputs = run(enroll_, {"images"}, &images, {"support_gram"});
            const float* gram = outputs[0].GetTensorData<float>();
            for (std::int64_t i = 0; i < packed_; ++i) {
                sum[i] += gram[i];
            }
        }
        return sum;
    }

    // Solves the classes and keeps their operators for classify. `grams`: one sum a class; `shots`: its photos.
    void solve(const std::vector<std::vector<double>>& grams, std::vector<float> shots) {
        const auto classes = std::int64_t(grams.size());
        std::vector<float> stacked;
        for (const auto& gram : grams) {
            stacked.insert(stacked.end(), gram.begin(), gram.end());
        }
        std::array<Ort::Value, 2> inputs{tensor(stacked, {classes, packed_}), tensor(shots, {classes})};
        auto outputs = run(solve_, {"gram", "shots"}, inputs.data(), {"operator", "residual"});
        const float* residual = outputs[1].GetTensorData<float>();
        for (std::int64_t c = 0; c < classes; ++c) {
            if (!(residual[c] <= kUnconverged)) {  // rejects NaN, too
                throw std::runtime_error("the solve of class " + std::to_string(c) + " did not converge");
            }
        }
        operators_ = std::move(outputs[0]);
        classes_ = classes;
    }

    // Compares a photo with the classes that were solved last.
    Distances classify(Photo input) {
        if (classes_ == 0) {
            throw std::runtime_error("no class has been solved: call solve first");
        }
        // A view of the operators, no copy.
        const auto shape = operators_.GetTensorTypeAndShapeInfo().GetShape();
        float* data = operators_.GetTensorMutableData<float>();
        std::array<Ort::Value, 2> inputs{
            image(input),
            Ort::Value::CreateTensor(memory_, data, classes_ * packed_, shape.data(), shape.size())};
        const auto outputs =
            run(classify_, {"images", "operator"}, inputs.data(), {"distance_high", "distance_mid", "logits"});
        const auto row = [this](const Ort::Value& value) {
            const float* first = value.GetTensorData<float>();
            return std::vector<float>(first, first + classes_);
        };
        return {row(outputs[0]), row(outputs[1]), row(outputs[2])};
    }

private:
    Ort::Session open(const std::filesystem::path& path) {
        if (!std::filesystem::exists(path)) {
            throw std::runtime_error(path.string() + " is missing: give a folder such as birds.hmdrn/graphs/fp32");
        }
        return Ort::Session(environment_, path.c_str(), options_);
    }

    Ort::Value image(Photo& input) const {
        const std::array<std::int64_t, 4> shape{1, side_, side_, 3};
        return Ort::Value::CreateTensor(memory_, input.bytes.data(), input.bytes.size(), shape.data(), shape.size());
    }

    Ort::Value tensor(std::vector<float>& values, const std::vector<std::int64_t>& shape) const {
        return Ort::Value::CreateTensor(memory_, values.data(), values.size(), shape.data(), shape.size());
    }

    std::vector<Ort::Value> run(Ort::Session& session, const std::vector<const char*>& inputs,
                                const Ort::Value* values, const std::vector<const char*>& outputs) const {
        return session.Run(Ort::RunOptions{nullptr}, inputs.data(), values, inputs.size(), outputs.data(),
                           outputs.size());
    }

    Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "hmdrn"};
    Ort::SessionOptions options_;
    Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    Ort::Session enroll_{nullptr};
    Ort::Session solve_{nullptr};
    Ort::Session classify_{nullptr};
    Ort::Value operators_{nullptr};
    int side_ = 0;
    std::int64_t packed_ = 0;
    std::int64_t classes_ = 0;
};

}  // namespace hmdrn
