/* Runs a fuzz target over files, without a fuzzing engine. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **words) {
    int i;
    for (i = 1; i < count; i++) {
        FILE *file = fopen(words[i], "rb");
        uint8_t *data;
        long length;
        if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0)
            return 2;
        rewind(file);
        data = (uint8_t *)malloc(length ? (size_t)length : 1);
        if (!data || fread(data, 1, (size_t)length, file) != (size_t)length)
            return 2;
        fclose(file);
        LLVMFuzzerTestOneInput(data, (size_t)length);
        free(data);
    }
    return 0;
}
