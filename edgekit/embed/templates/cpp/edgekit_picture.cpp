// From a picture's pixels to a network's input. SPDX: Apache-2.0

#include "edgekit_picture.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>

#include "edgekit_packed.hpp"

namespace edgekit {
namespace {

constexpr int kMaxSide = 1 << 14;

// A number of a PNM header; comments run from # to the end of the line.
int header_number(std::istream &file, const std::string &path) {
    int number = 0;
    while ((file >> std::ws).peek() == '#')
        file.ignore(1 << 16, '\n');
    if (!(file >> number) || number < 1 || number > kMaxSide)
        throw InputError(path + " has no usable PPM or PGM header");
    return number;
}

// What one pixel of the output takes from a row of the input.
struct Taps {
    int first;
    std::vector<double> weights;
};

// A triangle as wide as the step between two output pixels, so that none is skipped.
std::vector<Taps> triangle(int from, int to) {
    const double step = double(from) / to, width = std::max(step, 1.0);
    std::vector<Taps> all;
    for (int i = 0; i < to; i++) {
        const double centre = (i + 0.5) * step;
        const int first = std::max(0, int(centre - width + 0.5));
        const int last = std::min(from, int(centre + width + 0.5));
        Taps taps{first, {}};
        double sum = 0;
        for (int k = first; k < last; k++) {
            taps.weights.push_back(std::max(0.0, 1 - std::abs((k + 0.5 - centre) / width)));
            sum += taps.weights.back();
        }
        for (double &weight : taps.weights)
            weight /= sum;
        all.push_back(std::move(taps));
    }
    return all;
}

// Filters lines of `count` pixels; `next` is the distance between neighbours in bytes.
void filter(const std::uint8_t *in, std::size_t next_in, std::uint8_t *out, std::size_t next_out,
            const std::vector<Taps> &taps) {
    for (std::size_t i = 0; i < taps.size(); i++) {
        for (std::size_t channel = 0; channel < 3; channel++) {
            double sum = 0;
            for (std::size_t k = 0; k < taps[i].weights.size(); k++)
                sum +=
                    taps[i].weights[k] * in[(std::size_t(taps[i].first) + k) * next_in + channel];
            out[i * next_out + channel] = std::uint8_t(std::clamp(sum + 0.5, 0.0, 255.0));
        }
    }
}

} // namespace

Picture read_pnm(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw InputError("can't read " + path);
    char kind[2] = {};
    file.read(kind, 2);
    if (kind[0] != 'P' || (kind[1] != '5' && kind[1] != '6'))
        throw InputError(path + " is no binary PPM (P6) or PGM (P5) picture");
    Picture picture{};
    picture.width = header_number(file, path);
    picture.height = header_number(file, path);
    if (header_number(file, path) != 255)
        throw InputError(path + " hasn't 8 bits a channel");
    file.get(); // the one white space before the pixels
    const std::size_t count = std::size_t(picture.width) * std::size_t(picture.height);
    const std::size_t depth = kind[1] == '5' ? 1 : 3;
    // The length is looked at before memory is taken for what the header claims.
    const auto start = file.tellg();
    file.seekg(0, std::ios::end);
    if (!file || std::size_t(file.tellg() - start) < count * depth)
        throw InputError(path + " ends before its last pixel");
    file.seekg(start);
    picture.pixels.resize(count * 3);
    if (!file.read(reinterpret_cast<char *>(picture.pixels.data()), std::streamsize(count * depth)))
        throw InputError("can't read " + path);
    if (depth == 1) // from the last to the first, so that no grey pixel is overwritten unread
        for (std::size_t i = count; i-- > 0;)
            std::fill_n(picture.pixels.begin() + std::ptrdiff_t(3 * i), 3, picture.pixels[i]);
    return picture;
}

Picture resized(const Picture &picture, int width, int height) {
    if (width == picture.width && height == picture.height)
        return picture;
    const std::size_t wide = std::size_t(width), high = std::size_t(height);
    const std::size_t rows = std::size_t(picture.height);
    std::vector<std::uint8_t> narrow(3 * wide * rows);
    const auto across = triangle(picture.width, width), down = triangle(picture.height, height);
    for (std::size_t row = 0; row < rows; row++)
        filter(&picture.pixels[3 * row * std::size_t(picture.width)], 3, &narrow[3 * row * wide], 3,
               across);
    Picture result{width, height, std::vector<std::uint8_t>(3 * wide * high)};
    for (std::size_t column = 0; column < wide; column++)
        filter(&narrow[3 * column], 3 * wide, &result.pixels[3 * column], 3 * wide, down);
    return result;
}

std::vector<float> prepare(const Picture &picture, const Preprocess &settings) {
    int wide = settings.width, high = settings.height;
    if (settings.resize) {
        const int shorter = std::min(picture.width, picture.height);
        const auto side = [&](int length) {
            return int(std::nearbyint(double(length) * settings.resize / shorter));
        };
        wide = side(picture.width), high = side(picture.height);
        if (wide > kMaxSide || high > kMaxSide)
            throw InputError("the picture is too long and narrow for this network");
    }
    const Picture sized = resized(picture, wide, high);
    const int left = (wide - settings.width) / 2, top = (high - settings.height) / 2;
    const std::size_t depth = settings.channels == Channels::gray ? 1 : 3;
    const std::size_t plane = std::size_t(settings.width) * std::size_t(settings.height);
    std::vector<float> input(depth * plane);
    std::size_t place = 0;
    for (int y = 0; y < settings.height; y++) {
        for (int x = 0; x < settings.width; x++, place++) {
            const std::size_t at =
                3 * (std::size_t(top + y) * std::size_t(wide) + std::size_t(left + x));
            const std::uint8_t *rgb = &sized.pixels[at];
            for (std::size_t channel = 0; channel < depth; channel++) {
                float value = rgb[settings.channels == Channels::bgr ? 2 - channel : channel];
                if (depth == 1) // the brightness of ITU-R BT.601
                    value = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
                const std::size_t to =
                    settings.channels_last ? place * depth + channel : channel * plane + place;
                input[to] = (value / 255.0f - settings.mean[channel]) / settings.deviation[channel];
            }
        }
    }
    return input;
}

} // namespace edgekit
