// From a picture's pixels to a network's input, as the network was calibrated. SPDX: Apache-2.0
//
//     picture --resize--> shorter side --centre crop--> height x width --scale--> (x/255 -
//     mean)/std

#ifndef EDGEKIT_PICTURE_HPP
#define EDGEKIT_PICTURE_HPP

#include <cstdint>
#include <string>
#include <vector>

namespace edgekit {

enum class Channels { rgb, bgr, gray };

struct Preprocess {
    int width, height; // of the input, in pixels
    int resize;        // what the shorter side becomes before the centre is cut out; 0: stretch
    Channels channels;
    std::vector<float> mean, deviation; // one number a channel, in that order
    bool channels_last;                 // (height, width, channels) instead of channels first
};

// Red, green and blue bytes, row by row.
struct Picture {
    int width, height;
    std::vector<std::uint8_t> pixels;
};

// A binary PPM (P6) or PGM (P5) file of 8 bits. Throws InputError.
Picture read_pnm(const std::string &path);

// An antialiasing bilinear filter, rounded to bytes after each direction.
Picture resized(const Picture &picture, int width, int height);

// One input, without its batch axis.
std::vector<float> prepare(const Picture &picture, const Preprocess &settings);

} // namespace edgekit

#endif
