/* What the guest programs share: sizes on the command line, the clock, bounded run time. */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No program of a guest runs longer than this, whatever its arguments say. */
#define RUN_SECONDS_MAX 86400ull

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ms(void) { return now_ns() / 1000000ull; }

static inline void sleep_us(uint64_t us) {
  struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
  nanosleep(&t, NULL);
}

static inline uint64_t parse_size(const char *text) {
  char *end;
  uint64_t value = strtoull(text, &end, 10);
  switch (*end) {
    case 'K': return value << 10;
    case 'M': return value << 20;
    case 'G': return value << 30;
    case 0: return value;
    default: fprintf(stderr, "Not a size: %s\n", text); exit(2);
  }
}

/* The value of --NAME among the arguments, or the fallback. */
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
  for (int i = 1; i + 1 < argc; i++)
    if (strcmp(argv[i], name) == 0) return argv[i + 1];
  return fallback;
}
#endif
