/* The packed model as read-only bytes of the program. */

#include "@prefix@.h"

#if defined(__has_embed)
const uint8_t @prefix@_data[] = {
#embed "@prefix@.ekp"
};
const uint8_t *const @prefix@_data_end = @prefix@_data + sizeof @prefix@_data;
#elif defined(__GNUC__) && !defined(@PREFIX@_ARRAY)
#if defined(__APPLE__)
#define SECTION ".const_data\n"
#define SYMBOL(name) "_" #name
#else
#define SECTION ".section .rodata\n"
#define SYMBOL(name) #name
#endif
/* The assembler reads the file: compiling takes no time, however large the model is. */
__asm__(SECTION ".balign 8\n"
                ".globl " SYMBOL(@prefix@_data) "\n"
                SYMBOL(@prefix@_data) ":\n"
                ".incbin \"@prefix@.ekp\"\n"
                ".globl " SYMBOL(@prefix@_data_last) "\n"
                SYMBOL(@prefix@_data_last) ":\n"
                ".byte 0\n"
                ".balign 8\n"
                ".text\n");
extern const uint8_t @prefix@_data_last[];
const uint8_t *const @prefix@_data_end = @prefix@_data_last;
#else
@array@
#endif

size_t @prefix@_bytes(void) {
    return (size_t)(@prefix@_data_end - @prefix@_data);
}
