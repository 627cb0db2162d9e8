/* is: sorts integers by buckets, after the IS kernel of the NAS Parallel Benchmarks (RNR-94-007): keys are the mean of four
 * uniform numbers, so buckets in the middle are the fullest; the writes go all over the memory.
 *
 *   is [SIZE]      of keys, bucketed keys and sorted keys together; default 256M
 *
 * Work: keys moved (to their bucket, and to their place). Each sorting has other keys. Checked after each: the sorted
 * keys ascend, and they are the same keys, by their sum and by the sum of a hash of each.
 */
#include <omp.h>

#include "content.h"
#include "work.h"

#define BUCKETS 1024u
#define BUCKET_KEYS 1024u
#define THREADS_MAX 64

static uint64_t count;
static uint32_t *keys, *bucketed, *sorted;
/* Where each thread's next key of a bucket goes. */
static uint64_t places[THREADS_MAX][BUCKETS];
static uint64_t starts[BUCKETS + 1];

struct sums {
  uint64_t plain, hashed;
};

/* Below BUCKETS * BUCKET_KEYS = 2^20. */
static uint32_t make_key(uint64_t seed, uint64_t i) {
  uint64_t r = mix64(seed * 0x9e3779b97f4a7c15ull + i + 1);
  return (uint32_t)(((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48)) << 2);
}

/* Keys that were damaged may be anything, or change while they are sorted: that must be found, not end the program. */
static uint32_t bucket_of(uint32_t key) { return key / BUCKET_KEYS % BUCKETS; }

static void put(uint32_t *to, uint64_t at, uint32_t key) {
  if (at < count) to[at] = key;
}

static uint64_t part_start(uint64_t part, uint64_t parts) { return count * part / parts; }

static struct sums make_keys(uint64_t seed) {
  uint64_t plain = 0, hashed = 0;
#pragma omp parallel for schedule(static) reduction(+ : plain, hashed)
  for (uint64_t i = 0; i < count; i++) {
    keys[i] = make_key(seed, i);
    plain += keys[i], hashed += mix64(keys[i]);
  }
  return (struct sums){plain, hashed};
}

/* Each thread counts the keys of its part, then all know where which thread puts the keys of which bucket. */
static void fill_buckets(void) {
#pragma omp parallel num_threads(omp_get_max_threads() < THREADS_MAX ? omp_get_max_threads() : THREADS_MAX)
  {
    const uint64_t own = (uint64_t)omp_get_thread_num(), threads = (uint64_t)omp_get_num_threads();
    uint64_t *place = places[own];
    memset(place, 0, sizeof places[0]);
    for (uint64_t i = part_start(own, threads); i < part_start(own + 1, threads); i++) place[bucket_of(keys[i])]++;
#pragma omp barrier
#pragma omp single
    {
      uint64_t at = 0;
      for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        starts[bucket] = at;
        for (uint64_t t = 0; t < threads; t++) {
          uint64_t here = places[t][bucket];
          places[t][bucket] = at;
          at += here;
        }
      }
      starts[BUCKETS] = at;
    }
    for (uint64_t i = part_start(own, threads); i < part_start(own + 1, threads); i++) {
      put(bucketed, place[bucket_of(keys[i])]++, keys[i]);
      if ((i & 0xffff) == 0xffff) work_done(0x10000);
    }
  }
}

static void sort_buckets(void) {
#pragma omp parallel for schedule(dynamic, 4)
  for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
    uint32_t counts[BUCKET_KEYS] = {0};
    for (uint64_t i = starts[bucket]; i < starts[bucket + 1]; i++) counts[bucketed[i] % BUCKET_KEYS]++;
    uint64_t at = starts[bucket];
    for (uint32_t k = 0; k < BUCKET_KEYS; k++) {
      uint32_t here = counts[k];
      counts[k] = (uint32_t)(at - starts[bucket]);
      at += here;
    }
    for (uint64_t i = starts[bucket]; i < starts[bucket + 1]; i++)
      put(sorted, starts[bucket] + counts[bucketed[i] % BUCKET_KEYS]++, bucketed[i]);
    work_done(starts[bucket + 1] - starts[bucket]);
  }
}

static void check(struct sums wanted, uint64_t seed) {
  uint64_t plain = 0, hashed = 0, wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : plain, hashed, wrong)
  for (uint64_t i = 0; i < count; i++) {
    wrong += i > 0 && sorted[i - 1] > sorted[i];
    plain += sorted[i], hashed += mix64(sorted[i]);
  }
  if (wrong != 0) work_failed("%llu keys of sorting %llu descend", (unsigned long long)wrong, (unsigned long long)seed);
  if (plain != wanted.plain || hashed != wanted.hashed)
    work_failed("sorting %llu has other keys than it was given", (unsigned long long)seed);
}

int is_main(int argc, char **argv) {
  count = size_argument(argc, argv, 1, "256M") / (3 * sizeof *keys);
  if (count < BUCKETS) return 2;
  keys = zeroed(count * sizeof *keys);
  bucketed = zeroed(count * sizeof *keys);
  sorted = zeroed(count * sizeof *keys);
  work_begins();
  for (uint64_t seed = 1; work_goes_on(); seed++) {
    struct sums sums = make_keys(seed);
    fill_buckets();
    sort_buckets();
    check(sums, seed);
  }
  return 0;
}
