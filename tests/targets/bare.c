/* A program on a Cortex-M without an operating system or libc: start-up, and the debugger's calls
   (semihosting) for text and for the end of the emulator. */

#include "bare.h"

enum { SYS_WRITE0 = 4, SYS_EXIT = 0x18, STOPPED_RUN_TIME_ERROR = 0x20023, STOPPED_EXIT = 0x20026 };

extern uint32_t bare_data_from[], bare_data_to[], bare_data_end[], bare_bss_end[], bare_stack[];

static void semihost(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void bare_write(const char *text) {
    semihost(SYS_WRITE0, text);
}

static void bare_reset(void) {
    volatile uint32_t *to = bare_data_to; /* volatile: no call of memcpy or memset */
    const uint32_t *from = bare_data_from;
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the coprocessors of the FPU */
    __asm__ volatile("dsb\n\tisb");
#endif
    while (to < bare_data_end)
        *to++ = *from++;
    while (to < bare_bss_end)
        *to++ = 0;
    if (bare_main())
        semihost(SYS_EXIT, (const void *)STOPPED_RUN_TIME_ERROR);
    semihost(SYS_EXIT, (const void *)STOPPED_EXIT);
    for (;;) {
    }
}

static void bare_fault(void) {
    semihost(SYS_WRITE0, "fault\n");
    semihost(SYS_EXIT, (const void *)STOPPED_RUN_TIME_ERROR);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} bare_vectors = {bare_stack,
                  {bare_reset, bare_fault, bare_fault, bare_fault, bare_fault, bare_fault}};
