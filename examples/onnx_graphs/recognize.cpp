// Enroll the species of a folder and classify photos, with ONNX Runtime only: no Python on the device.
//
//     recognize birds.hmdrn/graphs/fp32 species/ photo.ppm...
//
// species/ has a folder of photos for each species. Photos are binary PPM (`ffmpeg -i photo.jpg photo.ppm`), upright.
// With --squash first, they are resized as for a manifest whose input.preprocessing is "squash".
// Prints a line for each photo and species, tab-separated: photo, species, distance_high, distance_mid, logit,
// and "best" where the logit is the photo's largest. README.md explains how to build it.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "graphs.hpp"
#include "photo.hpp"

namespace fs = std::filesystem;

static std::vector<fs::path> sorted_entries(const fs::path& folder) {
    std::vector<fs::path> entries;
    for (const auto& entry : fs::directory_iterator(folder)) {
        entries.push_back(entry.path());
    }
    std::sort(entries.begin(), entries.end());
    return entries;
}

static int recognize(std::vector<std::string> arguments) {
    const bool squash = !arguments.empty() && arguments[0] == "--squash";
    if (squash) {
        arguments.erase(arguments.begin());
    }
    if (arguments.size() < 3) {
        std::cerr << "usage: recognize [--squash] GRAPHS SPECIES PHOTO.ppm...\n";
        return 2;
    }
    hmdrn::Graphs graphs(arguments[0]);

    std::vector<std::string> labels;
    std::vector<std::vector<double>> grams;
    std::vector<float> shots;
    for (const fs::path& folder : sorted_entries(arguments[1])) {
        std::vector<hmdrn::Photo> photos;
        if (fs::is_directory(folder)) {
            for (const fs::path& path : sorted_entries(folder)) {
                if (path.extension() == ".ppm") {
                    photos.push_back(hmdrn::prepare(hmdrn::read_ppm(path.string()), graphs.side(), squash));
                }
            }
        }
        if (!photos.empty()) {
            labels.push_back(folder.filename().string());
            shots.push_back(static_cast<float>(photos.size()));
            grams.push_back(graphs.sum_grams(std::move(photos)));
        }
    }
    if (labels.empty()) {
        std::cerr << "error: " << arguments[1] << " holds no folder with .ppm photos\n";
        return 2;
    }
    graphs.solve(grams, shots);

    for (std::size_t i = 2; i < arguments.size(); ++i) {
        const auto result = graphs.classify(
            hmdrn::prepare(hmdrn::read_ppm(arguments[i]), graphs.side(), squash));
        const auto best = std::max_element(result.logits.begin(), result.logits.end()) - result.logits.begin();
        for (std::size_t c = 0; c < labels.size(); ++c) {
            std::printf("%s\t%s\t%.9g\t%.9g\t%.9g\t%s\n", arguments[i].c_str(), labels[c].c_str(), result.high[c],
                        result.mid[c], result.logits[c], std::ptrdiff_t(c) == best ? "best" : "");
        }
    }
    return 0;
}

int main(int count, char** words) {
    try {
        return recognize({words + 1, words + count});
    } catch (const std::exception& error) {  // Ort::Exception is one
        std::cerr << "error: " << error.what() << '\n';
        return 2;
    }
}
