/* Writes to a working set at a rate and checks that nothing of it was lost or corrupted.
 *
 *   writer --set 128M --rate 20M [--pattern sequential|random] [--bytes N] [--check-seconds 10] [--ready FILE]
 *
 * A page holds its number, the sequence number of its last write and a checksum over both and the content. Two kinds of
 * damage are told apart from sound pages: content that does not match its checksum, and a page that is sound but old (a
 * lost update), found by a table of the expected sequence numbers that lives apart from the pages. Every page is checked
 * before it is written again, and all of them once per --check-seconds. With --bytes N only N bytes of a page change per
 * write (plus its header).
 *
 * Every 100 ms one line:  W seq=<pages written> ms=<monotonic clock> gap=<longest loop in ms> bad=<damaged words so far>
 * The clock is the guest's: it stands still while the machine is stopped, so `gap` shows stalls, not the downtime.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "arguments.h"
#include "content.h"

#define HEADER_WORDS 3u
#define BODY_WORDS (PAGE_BYTES / 8 - HEADER_WORDS)

struct page {
  uint64_t number;
  uint64_t sequence;
  uint64_t checksum;
  uint64_t body[BODY_WORDS];
};

static struct page *pages;
static uint32_t *expected;
static uint64_t page_count, written, bad;
static uint32_t bytes_changed;

static uint64_t checksum_of(const struct page *p) {
  uint64_t a = p->number * 0x9e3779b97f4a7c15ull, b = p->sequence + 1;
  for (uint32_t i = 0; i + 1 < BODY_WORDS; i += 2) {
    a = (a ^ p->body[i]) * 0xff51afd7ed558ccdull;
    b = (b ^ p->body[i + 1]) * 0xc4ceb9fe1a85ec53ull;
  }
  return mix64(a ^ p->body[BODY_WORDS - 1]) ^ mix64(b);
}

static uint64_t seed_of(uint64_t number, uint64_t sequence) { return number * 0x100000001b3ull + sequence; }

/* Damaged words of a page that failed its check: exact where the content can be made again, else all that is known is one. */
static uint64_t damage_of(const struct page *p, uint64_t number) {
  static uint64_t fresh[BODY_WORDS];
  uint64_t damaged = (p->number != number) + (p->sequence != expected[number]);
  if (bytes_changed == 0) {
    fill_words(fresh, BODY_WORDS, seed_of(number, expected[number]), RANDOM_OF_16_MIXED);
    for (uint32_t i = 0; i < BODY_WORDS; i++) damaged += fresh[i] != p->body[i];
  }
  return damaged == 0 ? 1 : damaged;
}

static void check(uint64_t number) {
  const struct page *p = &pages[number];
  if (p->number == number && p->sequence == expected[number] && p->checksum == checksum_of(p)) return;
  bad += damage_of(p, number);
  static int told;
  if (told++ >= 20) return;
  printf("BAD page=%llu seq=%llu expected=%u\n", (unsigned long long)number, (unsigned long long)p->sequence,
         expected[number]);
}

static void rewrite(uint64_t number, int whole) {
  struct page *p = &pages[number];
  p->number = number;
  p->sequence = ++expected[number];
  if (whole || bytes_changed == 0) {
    fill_words(p->body, BODY_WORDS, seed_of(number, p->sequence), RANDOM_OF_16_MIXED);
  } else {
    uint32_t words = (bytes_changed + 7) / 8, at = (uint32_t)(mix64(seed_of(number, p->sequence)) % BODY_WORDS);
    for (uint32_t i = 0; i < words && i < BODY_WORDS; i++)
      p->body[(at + i) % BODY_WORDS] = mix64(p->sequence + i * 0x9e3779b97f4a7c15ull);
  }
  p->checksum = checksum_of(p);
}

static void report(uint64_t gap_ns) {
  printf("W seq=%llu ms=%llu gap=%llu bad=%llu\n", (unsigned long long)written, (unsigned long long)now_ms(),
         (unsigned long long)(gap_ns / 1000000), (unsigned long long)bad);
  fflush(stdout);
}

int main(int argc, char **argv) {
  uint64_t set = parse_size(option(argc, argv, "--set", "128M"));
  uint64_t rate = parse_size(option(argc, argv, "--rate", "20M"));
  uint64_t check_seconds = parse_size(option(argc, argv, "--check-seconds", "10"));
  int random = strcmp(option(argc, argv, "--pattern", "sequential"), "random") == 0;
  bytes_changed = (uint32_t)parse_size(option(argc, argv, "--bytes", "0"));
  page_count = set / PAGE_BYTES;
  if (page_count == 0 || check_seconds == 0) return 2;
  pages = mmap(NULL, set, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  expected = calloc(page_count, sizeof *expected);
  if (pages == MAP_FAILED || expected == NULL) return 3;
  make_vocabulary();
  for (uint64_t i = 0; i < page_count; i++) rewrite(i, 1);
  FILE *ready = fopen(option(argc, argv, "--ready", "/dev/null"), "w");
  if (ready != NULL) fclose(ready);
  printf("WRITER pages=%llu\n", (unsigned long long)page_count);

  uint64_t start = now_ns(), last = start, said = start, gap = 0, at = 0, checked = 0, draw = 88172645463325252ull;
  double due = 0, check_due = 0;
  while (last - start < RUN_SECONDS_MAX * 1000000000ull) {
    sleep_us(1000);
    uint64_t now = now_ns(), step = now - last;
    last = now;
    if (step > gap) gap = step;
    if (step > 50000000ull) step = 50000000ull; /* no burst after a stall */
    for (due += (double)rate / PAGE_BYTES * (double)step / 1e9; due >= 1; due--, written++) {
      draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
      at = random ? draw % page_count : (at + 1) % page_count;
      check(at);
      rewrite(at, 0);
    }
    check_due += (double)page_count / (double)check_seconds * (double)step / 1e9;
    for (; check_due >= 1; check_due--) check(checked++ % page_count);
    if (now - said >= 100000000ull) {
      report(gap);
      said = now, gap = 0;
    }
  }
  return 0;
}
