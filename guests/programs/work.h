/* What the programs of work.c share: how they say how much they did, and that a result was wrong. */
#ifndef WORK_H
#define WORK_H
#include "arguments.h"

/* Ends the preparation: says READY to who waits (the file that VMFERRY_READY names), and from now on once a second
 *   R NAME seq=<lines so far> ms=<monotonic clock> work=<units so far> bad=<failures so far>
 * by a thread of its own, so that long steps of a program do not hold it back. */
void work_begins(void);

/* Its name in those lines, before they begin; by default that of the program. */
void work_is_of(const char *name);

/* Any thread may call these, as often as it likes. A failure is told (the first 20 of them) and counted. */
void work_done(uint64_t units);
void work_total(uint64_t units);
void work_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Until then a program goes on: no program of a guest runs for ever. */
int work_goes_on(void);

/* The N-th argument as a size, or the fallback. */
uint64_t size_argument(int argc, char **argv, int n, const char *fallback);

/* Memory that begins with zero; ends the program where there is none. */
void *zeroed(uint64_t bytes);

/* The bits of all values, in order: two results are equal exactly where their digests are (but for one in 2^64). */
uint64_t digest(uint64_t start, const void *data, uint64_t bytes);

int bt_main(int argc, char **argv);
int dhrystone_main(int argc, char **argv);
int is_main(int argc, char **argv);
int linpack_main(int argc, char **argv);
int livermore_main(int argc, char **argv);
int mailfiles_main(int argc, char **argv);
int memhold_main(int argc, char **argv);
int mg_main(int argc, char **argv);
int sp_main(int argc, char **argv);
int tally_main(int argc, char **argv);
#endif
