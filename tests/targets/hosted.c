/* The check as a program of an operating system. */

#include <stdio.h>

#include "check.h"

int main(void) {
    uint32_t failed = check_all();
    if (failed < check_vector_count) {
        printf("%s decodes otherwise than expected\n", check_vectors[failed].name);
        return 1;
    }
    printf("%lu vectors\n", (unsigned long)check_vector_count);
    return 0;
}
