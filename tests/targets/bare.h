/* What a program without an operating system gets, and what it gives. */

#ifndef BARE_H
#define BARE_H

#include <stdint.h>

/* Text to the emulator's console. */
void bare_write(const char *text);

/* The program; 0 if all went well. */
int bare_main(void);

#endif
