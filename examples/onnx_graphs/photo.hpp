// A photo as the network's input: side x side RGB bytes. Resizes as Pillow's bilinear filter does, since the network was
// trained on photos that went through it: to the last bit where Pillow takes the columns first, and within one gray
// value where it takes the rows first, as newer versions do with some photos.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace hmdrn {

// RGB bytes, row by row, three a pixel.
struct Photo {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> bytes;
};

namespace detail {

// The pixels of the source that make up one pixel of the result, and their weights, in fixed point.
struct Window {
    int first = 0;
    std::vector<std::int32_t> weights;
};

constexpr int kFraction = 22;  // bits after the point

inline std::vector<Window> windows(int from, int to) {
    // A triangle as wide as the scale: every pixel counts when a photo shrinks, so that nothing flickers.
    const double scale = static_cast<double>(from) / to;
    const double radius = std::max(scale, 1.0);
    std::vector<Window> all(to);
    for (int i = 0; i < to; ++i) {
        const double center = (i + 0.5) * scale;
        const int first = std::max(static_cast<int>(center - radius + 0.5), 0);
        const int end = std::min(static_cast<int>(center + radius + 0.5), from);
        std::vector<double> weights;
        double sum = 0;
        for (int j = first; j < end; ++j) {
            weights.push_back(std::max(0.0, 1 - std::abs((j - center + 0.5) / radius)));
            sum += weights.back();
        }
        all[i].first = first;
        for (double weight : weights) {
            all[i].weights.push_back(static_cast<std::int32_t>(0.5 + weight / sum * (1 << kFraction)));
        }
    }
    return all;
}

inline std::uint8_t rounded(std::int64_t sum) {
    const std::int64_t half = std::int64_t{1} << (kFraction - 1);
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>((sum + half) >> kFraction, 0, 255));
}

}  // namespace detail

// Columns first, then rows, rounded to bytes in between.
inline Photo resize(const Photo& photo, int width, int height) {
    const auto columns = detail::windows(photo.width, width);
    Photo wide{width, photo.height, std::vector<std::uint8_t>(std::size_t{3} * width * photo.height)};
    for (int y = 0; y < photo.height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 0; c < 3; ++c) {
                std::int64_t sum = 0;
                for (std::size_t k = 0; k < columns[x].weights.size(); ++k) {
                    const std::size_t pixel = std::size_t(y) * photo.width + columns[x].first + k;
                    sum += std::int64_t{columns[x].weights[k]} * photo.bytes[3 * pixel + c];
                }
                wide.bytes[3 * (std::size_t(y) * width + x) + c] = detail::rounded(sum);
            }
        }
    }
    const auto rows = detail::windows(photo.height, height);
    Photo result{width, height, std::vector<std::uint8_t>(std::size_t{3} * width * height)};
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < 3 * width; ++x) {
            std::int64_t sum = 0;
            for (std::size_t k = 0; k < rows[y].weights.size(); ++k) {
                sum += std::int64_t{rows[y].weights[k]} * wide.bytes[(rows[y].first + k) * 3 * width + x];
            }
            result.bytes[std::size_t(y) * 3 * width + x] = detail::rounded(sum);
        }
    }
    return result;
}

// Returns the network's input: the photo resized, and its center. `side`: the manifest's input.size, in pixels;
// `squash`: see the manifest's input.preprocessing.
inline Photo prepare(const Photo& photo, int side, bool squash) {
    if (photo.width == side && photo.height == side) {
        return photo;
    }
    // The photo's shorter side before the center crop: the manifest's input.resize.
    const int resized = static_cast<int>(std::nearbyint(side * 92.0 / 84.0));
    int width = resized;
    int height = resized;
    if (!squash && photo.width <= photo.height) {
        height = static_cast<int>(static_cast<double>(resized) * photo.height / photo.width);
    } else if (!squash) {
        width = static_cast<int>(static_cast<double>(resized) * photo.width / photo.height);
    }
    const Photo small = resize(photo, width, height);
    const int left = static_cast<int>(std::nearbyint((width - side) / 2.0));  // halves to even
    const int top = static_cast<int>(std::nearbyint((height - side) / 2.0));
    Photo input{side, side, {}};
    for (int y = 0; y < side; ++y) {
        const auto row = small.bytes.begin() + 3 * (std::ptrdiff_t(top + y) * width + left);
        input.bytes.insert(input.bytes.end(), row, row + 3 * side);
    }
    return input;
}

// Reads a binary PPM (P6, 8 bits), as `ffmpeg -i photo.jpg photo.ppm` writes. A camera's frames need no file.
inline Photo read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error(path + " cannot be opened: check the path");
    }
    std::string magic;
    file >> magic;
    std::array<int, 3> header{};  // width, height, largest value
    for (int& value : header) {
        while ((file >> std::ws).peek() == '#') {
            file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
        }
        file >> value;
    }
    file.get();
    const auto [width, height, largest] = header;
    if (!file || magic != "P6" || largest != 255) {
        throw std::runtime_error(path + " is not a binary PPM of 8 bits: convert it, e.g. with ffmpeg");
    }
    if (width < 8 || height < 8 || std::int64_t{width} * height > 64'000'000 ||
        std::max(width, height) > 20 * std::min(width, height)) {
        throw std::runtime_error(path + " is too small, too large or too long for a photo");
    }
    Photo photo{width, height, std::vector<std::uint8_t>(std::size_t{3} * width * height)};
    file.read(reinterpret_cast<char*>(photo.bytes.data()), std::streamsize(photo.bytes.size()));
    if (!file) {
        throw std::runtime_error(path + " ends early: copy it again");
    }
    return photo;
}

}  // namespace hmdrn
