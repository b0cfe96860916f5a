/* Starts a command and prints the seconds until its end and the most memory it held, in KiB. A
   small parent: what a process held before exec counts as held after it too. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int count, char **arguments) {
    struct rusage usage;
    int status;
    double begin = now();
    pid_t child = count > 1 ? fork() : -1;
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        execvp(arguments[1], arguments + 1);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) < 0 || status)
        return 1;
    printf("%.6f %ld\n", now() - begin, usage.ru_maxrss);
    return 0;
}
