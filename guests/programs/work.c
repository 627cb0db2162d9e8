/* The programs that work until the guest ends and say how much they did; one file under many names, like busybox.
 *
 *   dhrystone | linpack [SIZE] | livermore | mg | is | sp | bt [SIZE] | memhold [SIZE] | mailfiles FOLDER ... | tally NAME
 *
 * docs/workloads.md says what each does, how it checks itself and what it reaches. Each line and failure is written by one
 * call, so that the lines of several programs on one console do not mix.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "content.h"
#include "work.h"

#define TOLD_MAX 20

static const char *name;
static atomic_ullong units, failures;
static uint64_t began_ns;

static void report(uint64_t sequence) {
  char line[160];
  int length = snprintf(line, sizeof line, "R %s seq=%llu ms=%llu work=%llu bad=%llu\n", name,
                        (unsigned long long)sequence, (unsigned long long)now_ms(), (unsigned long long)units,
                        (unsigned long long)failures);
  if (write(STDOUT_FILENO, line, (size_t)length) < 0) _exit(1);
}

static void *reporter(void *unused) {
  struct timespec due;
  clock_gettime(CLOCK_MONOTONIC, &due);
  for (uint64_t sequence = 1;; sequence++) {
    due.tv_sec++;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    report(sequence);
    /* No burst of lines after a stall. */
    if (now_ns() > (uint64_t)due.tv_sec * 1000000000ull + 1000000000ull) clock_gettime(CLOCK_MONOTONIC, &due);
  }
  return unused;
}

void work_is_of(const char *other) { name = other; }

void work_begins(void) {
  pthread_t thread;
  const char *ready = getenv("VMFERRY_READY");
  FILE *file = ready == NULL ? NULL : fopen(ready, "w");
  if (file != NULL) fclose(file);
  if (pthread_create(&thread, NULL, reporter, NULL) != 0) {
    perror("pthread_create");
    exit(1);
  }
}

void work_done(uint64_t more) { atomic_fetch_add_explicit(&units, more, memory_order_relaxed); }

void work_total(uint64_t total) { atomic_store_explicit(&units, total, memory_order_relaxed); }

void work_failed(const char *format, ...) {
  char text[160], line[200];
  va_list values;
  if (atomic_fetch_add(&failures, 1) >= TOLD_MAX) return;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  int length = snprintf(line, sizeof line, "BAD %s: %s\n", name, text);
  if (write(STDOUT_FILENO, line, (size_t)length) < 0) _exit(1);
}

int work_goes_on(void) { return now_ns() - began_ns < RUN_SECONDS_MAX * 1000000000ull; }

uint64_t size_argument(int argc, char **argv, int n, const char *fallback) {
  return parse_size(argc > n && argv[n][0] != 0 ? argv[n] : fallback);
}

void *zeroed(uint64_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED) return memory;
  perror(name);
  exit(3);
}

uint64_t digest(uint64_t start, const void *data, uint64_t bytes) {
  const uint64_t *words = data;
  uint64_t sum = start;
  for (uint64_t i = 0; i < bytes / 8; i++) sum = (sum ^ words[i]) * 0xff51afd7ed558ccdull + (sum >> 47);
  return mix64(sum);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    int (*run)(int, char **);
  } programs[] = {{"bt", bt_main},           {"dhrystone", dhrystone_main}, {"is", is_main},
                  {"linpack", linpack_main}, {"livermore", livermore_main}, {"mailfiles", mailfiles_main},
                  {"memhold", memhold_main}, {"mg", mg_main},               {"sp", sp_main},
                  {"tally", tally_main}};
  const char *slash = strrchr(argv[0], '/');
  name = slash == NULL ? argv[0] : slash + 1;
  began_ns = now_ns();
  make_vocabulary();
  for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
    if (strcmp(name, programs[i].name) == 0) return programs[i].run(argc, argv);
  fprintf(stderr, "No program is called %s\n", name);
  return 2;
}
