/* The check of all vectors as a program without an operating system. */

#include "bare.h"
#include "check.h"

int bare_main(void) {
    uint32_t failed = check_all();
    if (failed < check_vector_count) {
        bare_write(check_vectors[failed].name);
        bare_write(" decodes otherwise than expected\n");
        return 1;
    }
    bare_write("all vectors\n");
    return 0;
}
