/* The folder that embed writes as firmware: the model is decoded straight from flash, tensor by
   tensor into one buffer, and the CRC-32C of each is printed as the folder's own main.c does. */

#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"

#include "bare.h"
#include "model.h"

static uint64_t work[(EKD_WORK_SMALL + 7) / 8];
static uint64_t buffer[(MODEL_BUFFER_BYTES + 7) / 8];

static void write_hexadecimal(uint32_t number) {
    char text[9];
    unsigned i;
    for (i = 0; i < 8; i++)
        text[i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
    text[8] = 0;
    bare_write(text);
}

int bare_main(void) {
    ekd_file file;
    ekd_tensor tensor;
    uint32_t next = 0;
    ekd_result result = ekd_open(model_data, model_bytes(), &file);
    if (result == EKD_OK)
        result = ekd_first(&file, &tensor);
    for (; result == EKD_OK && next < MODEL_TENSOR_COUNT; result = ekd_next(&file, &tensor)) {
        if (tensor.index != model_tensors[next].id)
            continue;
        result =
            ekd_decode_stored(&file, &tensor, work, sizeof work, (uint8_t *)buffer, sizeof buffer);
        if (result != EKD_OK)
            break;
        write_hexadecimal(ekd_crc32c((const uint8_t *)buffer, model_tensors[next].bytes));
        bare_write(" ");
        bare_write(model_tensors[next].name);
        bare_write("\n");
        next++;
    }
    if (next == MODEL_TENSOR_COUNT)
        return 0;
    bare_write(ekd_result_name(result));
    return 1;
}
