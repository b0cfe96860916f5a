/* The scales of a file's first tensor, and what they cost when its chunks are restored in order.

   usage: scales FILE

   Three lines: the scale of each channel; the scales of two channels that aren't there; the number
   of function calls that restoring takes, which compilers count with -finstrument-functions. */

#include <stdio.h>
#include <stdlib.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"

#define UNCOUNTED __attribute__((no_instrument_function))

static unsigned long calls;

UNCOUNTED void __cyg_profile_func_enter(void *function, void *site);
UNCOUNTED void __cyg_profile_func_exit(void *function, void *site);

void __cyg_profile_func_enter(void *function, void *site) {
    (void)function, (void)site;
    calls++;
}

void __cyg_profile_func_exit(void *function, void *site) {
    (void)function, (void)site;
}

UNCOUNTED static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    long length;
    if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) <= 0)
        exit(2);
    rewind(file);
    *bytes = (size_t)length;
    data = (uint8_t *)malloc(*bytes);
    if (!data || fread(data, 1, *bytes, file) != *bytes)
        exit(2);
    fclose(file);
    return data;
}

UNCOUNTED static void show_scales(const ekd_file *file, const ekd_tensor *tensor) {
    uint32_t channel, channels = tensor->dims[tensor->axis];
    for (channel = 0; channel < channels; channel++)
        printf("%.9g ", (double)ekd_scale(file, tensor, channel));
    printf("\n%.9g %.9g\n", (double)ekd_scale(file, tensor, channels),
           (double)ekd_scale(file, tensor, 0xFFFFFFFFu));
}

UNCOUNTED static ekd_result restore(const ekd_file *file, const ekd_tensor *tensor) {
    static uint64_t work[EKD_WORK_FAST / 8];
    size_t chunk_bytes = ekd_restored_bytes(tensor) << tensor->chunk_log2;
    void *out = malloc(chunk_bytes);
    ekd_decoder decoder;
    ekd_chunk chunk;
    ekd_result result = ekd_begin(file, tensor, work, sizeof work, &decoder);
    if (!out)
        exit(2);
    if (result == EKD_OK)
        result = ekd_first_chunk(file, tensor, &chunk);
    while (result == EKD_OK) {
        result = ekd_restore_chunk(&decoder, &chunk, out, chunk_bytes);
        if (result == EKD_OK)
            result = ekd_next_chunk(file, tensor, &chunk);
    }
    free(out);
    return result;
}

UNCOUNTED int main(int count, char **words) {
    size_t bytes = 0;
    uint8_t *data = count == 2 ? read_file(words[1], &bytes) : NULL;
    ekd_file file;
    ekd_tensor tensor;
    if (!data || ekd_open(data, bytes, &file) != EKD_OK || ekd_first(&file, &tensor) != EKD_OK)
        return 2;
    show_scales(&file, &tensor);
    calls = 0;
    if (restore(&file, &tensor) != EKD_END)
        return 2;
    printf("%lu\n", calls);
    free(data);
    return 0;
}
