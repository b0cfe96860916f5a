// Prepares a PPM or PGM picture and writes the input's float32 numbers to stdout.
//
// usage: picture FILE WIDTH HEIGHT RESIZE rgb|bgr|gray MEAN DEVIATION first|last

#include <cstdio>
#include <cstdlib>
#include <string>

#include "edgekit_packed.hpp"
#include "edgekit_picture.hpp"

int main(int count, char **words) {
    if (count != 9)
        return 2;
    const std::string channels = words[5];
    edgekit::Preprocess settings{};
    settings.width = std::atoi(words[2]);
    settings.height = std::atoi(words[3]);
    settings.resize = std::atoi(words[4]);
    settings.channels = channels == "gray"  ? edgekit::Channels::gray
                        : channels == "bgr" ? edgekit::Channels::bgr
                                            : edgekit::Channels::rgb;
    settings.mean.assign(3, std::strtof(words[6], nullptr));
    settings.deviation.assign(3, std::strtof(words[7], nullptr));
    settings.channels_last = std::string(words[8]) == "last";
    try {
        const auto input = edgekit::prepare(edgekit::read_pnm(words[1]), settings);
        std::fwrite(input.data(), sizeof(float), input.size(), stdout);
    } catch (const edgekit::InputError &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 4;
    }
    return 0;
}
