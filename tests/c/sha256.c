/* Prints whether each file named ends with its own SHA-256. */

#include <stdio.h>

#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"

int main(int count, char **names) {
    static uint8_t data[1 << 20];
    int i;
    for (i = 1; i < count; i++) {
        FILE *file = fopen(names[i], "rb");
        size_t bytes = file ? fread(data, 1, sizeof data, file) : 0;
        if (file)
            fclose(file);
        puts(ekd_result_name(ekd_check_sha256(data, bytes)));
    }
    return 0;
}
