/* The golden vectors on a machine without files: their bytes and what decoding them must give. */

#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>

typedef struct {
    const char *name;
    const uint8_t *data;
    uint32_t bytes;
    uint8_t result;        /* an ekd_result; EKD_OK where every tensor decodes */
    uint32_t tensors;      /* that decode */
    const uint32_t *codes; /* CRC-32C of each one's codes; 0 where it has none */
    const uint32_t *restored;
} check_vector;

/* Written by vectors.py. */
extern const check_vector check_vectors[];
extern const uint32_t check_vector_count;

/* The number of the first vector that decodes otherwise than expected, or check_vector_count. */
uint32_t check_all(void);

#endif
