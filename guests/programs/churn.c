/* Uses memory in every way at random, and checks each byte of it: what a guest must never see changed by a migration.
 *
 *   churn --set 32M [--files FOLDER] [--data FOLDER]
 *
 * Slots hold mappings: anonymous private and shared, a file shared and private (copy on write). A page's content follows from
 * its slot and generation, so it can be made again and compared whole. Memory that the kernel hands out must be zero, which
 * finds kernels that trust a free page (init_on_free) and were given another one. Files in FOLDER are written, read back,
 * mapped, synced, cut, dropped from the cache and made again; those of the data disk (--data) are read and compared.
 *
 * Every 100 ms:  C ops=<steps> mib=<MiB compared> files=<whole files compared> zero=<pages seen fresh> ms=<clock> bad=<pages>
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "content.h"

#define SLOTS 96u
#define SLOT_PAGES_MAX 256u
#define FILES 24u
#define FILE_PAGES 128u
#define WORDS (PAGE_BYTES / 8)
#define DATA_FILE_BYTES (8u << 20)
#define DATA_BLOCK_WORDS 8192u

enum kind { NOTHING, PRIVATE_ANONYMOUS, SHARED_ANONYMOUS, PRIVATE_FILE, KINDS };

/* A mapping. Generation 0 is zero, or for a private file mapping the file's own content. */
struct slot {
  enum kind kind;
  uint64_t *words;
  uint32_t pages, file;
  uint64_t generation[SLOT_PAGES_MAX];
};

/* A file, and what each of its pages holds: generation 0 is zero. `pinned`: mapped privately, so it must not change. */
struct file {
  uint32_t pages, pinned;
  uint64_t generation[FILE_PAGES];
};

static struct slot slots[SLOTS];
static struct file files[FILES];
static uint64_t draw = 88172645463325252ull, generations = 1;
static uint64_t ops, checked_pages, checked_files, zero_pages, bad, mapped_pages, set_pages;
static const char *folder, *data;

static uint32_t below(uint32_t limit) {
  draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
  return (uint32_t)((draw >> 11) % limit);
}

static void fill(uint64_t *out, uint64_t generation) {
  uint64_t x = mix64(generation);
  for (uint32_t i = 0; i < WORDS; i++) out[i] = generation == 0 ? 0 : (x = x * 6364136223846793005ull + 1442695040888963407ull);
}

static void compare(const uint64_t *page, uint64_t generation, const char *what, uint32_t owner, uint32_t index) {
  uint64_t x = mix64(generation);
  checked_pages++;
  for (uint32_t i = 0; i < WORDS; i++) {
    uint64_t wanted = generation == 0 ? 0 : (x = x * 6364136223846793005ull + 1442695040888963407ull);
    if (page[i] == wanted) continue;
    if (bad++ < 20)
      printf("BAD %s %u page=%u word=%u is=%llx expected=%llx\n", what, owner, index, i, (unsigned long long)page[i],
             (unsigned long long)wanted);
    return;
  }
}

static int open_file(uint32_t number, int flags) {
  char path[128];
  snprintf(path, sizeof path, "%s/churn-%02u", folder, number);
  return open(path, flags, 0600);
}

static void fail(const char *what) {
  if (bad++ < 20) printf("BAD %s: %s\n", what, strerror(errno));
}

/* --- mappings ------------------------------------------------------------------------------------------------------ */

static uint64_t wanted_of(const struct slot *s, uint32_t page) {
  if (s->generation[page] != 0 || s->kind != PRIVATE_FILE) return s->generation[page];
  return files[s->file].generation[page];
}

static void check_slot(uint32_t number) {
  const struct slot *s = &slots[number];
  static const char *names[KINDS] = {"", "private", "shared", "copy-on-write"};
  for (uint32_t i = 0; i < s->pages; i++) compare(&s->words[i * WORDS], wanted_of(s, i), names[s->kind], number, i);
}

static void write_pages(struct slot *s, uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < s->pages && i < first + count; i++) fill(&s->words[i * WORDS], s->generation[i] = generations++);
}

static void map_slot(uint32_t number) {
  struct slot *s = &slots[number];
  enum kind kind = 1 + below(KINDS - 1);
  uint32_t file = below(FILES), pages = 1 + below(below(4) == 0 ? SLOT_PAGES_MAX : 16);
  int fd = -1;
  if (kind == PRIVATE_FILE) {
    if (folder == NULL || files[file].pages == 0) return;
    if (pages > files[file].pages) pages = files[file].pages;
    fd = open_file(file, O_RDONLY);
    if (fd < 0) return fail("open");
  }
  if (mapped_pages + pages > set_pages) return;
  int flags = (kind == SHARED_ANONYMOUS ? MAP_SHARED : MAP_PRIVATE) | (fd < 0 ? MAP_ANONYMOUS : 0);
  s->words = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (fd >= 0) close(fd);
  if (s->words == MAP_FAILED) return fail("mmap");
  *s = (struct slot){.kind = kind, .words = s->words, .pages = pages, .file = file};
  if (kind == PRIVATE_FILE) files[file].pinned++;
  mapped_pages += pages;
  /* Writing a word gets a page of its own, whose rest the kernel must have cleared; reading alone gets the shared zero page. */
  for (uint32_t i = 0; kind != PRIVATE_FILE && i < pages; i++) s->words[i * WORDS] = 0, zero_pages++;
  check_slot(number);
  write_pages(s, below(pages), pages);
}

static void unmap_slot(uint32_t number) {
  struct slot *s = &slots[number];
  check_slot(number);
  munmap(s->words, s->pages * PAGE_BYTES);
  if (s->kind == PRIVATE_FILE) files[s->file].pinned--;
  mapped_pages -= s->pages;
  s->kind = NOTHING;
}

/* Gives pages back and takes them anew: private memory is zero (or the file) again. */
static void drop_pages(uint32_t number) {
  struct slot *s = &slots[number];
  uint32_t first = below(s->pages), count = 1 + below(s->pages - first);
  if (s->kind == SHARED_ANONYMOUS) return;
  madvise(&s->words[first * WORDS], count * PAGE_BYTES, MADV_DONTNEED);
  memset(&s->generation[first], 0, count * sizeof s->generation[0]);
  for (uint32_t i = first; s->kind != PRIVATE_FILE && i < first + count; i++) s->words[i * WORDS] = 0, zero_pages++;
  check_slot(number);
}

static void step_slot(void) {
  uint32_t number = below(SLOTS);
  struct slot *s = &slots[number];
  if (s->kind == NOTHING) return map_slot(number);
  switch (below(8)) {
    case 0: return unmap_slot(number);
    case 1: return drop_pages(number);
    case 2:
    case 3: return write_pages(s, below(s->pages), 1 + below(16));
    default: return check_slot(number);
  }
}

/* --- files that change --------------------------------------------------------------------------------------------- */

static void write_file(uint32_t number, int fd) {
  struct file *f = &files[number];
  static uint64_t page[WORDS];
  uint32_t first = below(FILE_PAGES), count = 1 + below(32);
  if (f->pinned > 0) return;
  for (uint32_t i = first; i < FILE_PAGES && i < first + count; i++) {
    fill(page, f->generation[i] = generations++);
    if (pwrite(fd, page, PAGE_BYTES, (off_t)i * PAGE_BYTES) != PAGE_BYTES) return fail("pwrite");
    if (i >= f->pages) f->pages = i + 1;
  }
}

static void check_file(uint32_t number, int fd) {
  const struct file *f = &files[number];
  static uint64_t content[FILE_PAGES * WORDS];
  if (read(fd, content, sizeof content) != (ssize_t)f->pages * PAGE_BYTES) return fail("length of a file");
  for (uint32_t i = 0; i < f->pages; i++) compare(&content[i * WORDS], f->generation[i], "file", number, i);
  checked_files++;
}

static void write_mapped_file(uint32_t number, int fd) {
  struct file *f = &files[number];
  if (f->pages == 0 || f->pinned > 0) return;
  uint64_t *words = mmap(NULL, f->pages * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (words == MAP_FAILED) return fail("mmap of a file");
  for (uint32_t n = below(16); n > 0; n--) {
    uint32_t i = below(f->pages);
    compare(&words[i * WORDS], f->generation[i], "mapped file", number, i);
    fill(&words[i * WORDS], f->generation[i] = generations++);
  }
  if (below(2) == 0) msync(words, f->pages * PAGE_BYTES, MS_SYNC);
  munmap(words, f->pages * PAGE_BYTES);
}

static void cut_file(uint32_t number, int fd) {
  struct file *f = &files[number];
  if (f->pinned > 0) return;
  uint32_t pages = below(f->pages + 1);
  if (ftruncate(fd, (off_t)pages * PAGE_BYTES) != 0) return fail("ftruncate");
  memset(&f->generation[pages], 0, (FILE_PAGES - pages) * sizeof f->generation[0]);
  f->pages = pages;
}

static void step_file(void) {
  uint32_t number = below(FILES);
  int fd = open_file(number, O_RDWR | O_CREAT);
  if (fd < 0) return fail("open");
  switch (below(10)) {
    case 0: cut_file(number, fd); break;
    case 1: fsync(fd); break;
    case 2: posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); break;
    case 3: write_mapped_file(number, fd); break;
    case 4:
    case 5: write_file(number, fd); break;
    default: check_file(number, fd);
  }
  close(fd);
}

/* --- files that never change --------------------------------------------------------------------------------------- */

/* One block of 64 KiB of the data disk, as makefiles made it. */
static void step_data(void) {
  static uint64_t block[DATA_BLOCK_WORDS], wanted[DATA_BLOCK_WORDS];
  uint32_t number = below(96), at = below(DATA_FILE_BYTES / sizeof block);
  char path[128];
  snprintf(path, sizeof path, "%s/file-%03u", data, number);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return fail("open of the data disk");
  uint64_t seed = DATA_SEED + number * (DATA_FILE_BYTES / sizeof block) + at + 1;
  fill_words(wanted, DATA_BLOCK_WORDS, seed, data_kinds[seed & 7]);
  if (pread(fd, block, sizeof block, (off_t)at * (off_t)sizeof block) != sizeof block) fail("pread of the data disk");
  else if (memcmp(block, wanted, sizeof block) != 0) errno = 0, fail("content of the data disk");
  checked_pages += sizeof block / PAGE_BYTES, checked_files++;
  if (below(16) == 0) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

static void report(void) {
  printf("C ops=%llu mib=%llu files=%llu zero=%llu ms=%llu bad=%llu\n", (unsigned long long)ops,
         (unsigned long long)(checked_pages / 256), (unsigned long long)checked_files, (unsigned long long)zero_pages,
         (unsigned long long)now_ms(), (unsigned long long)bad);
  fflush(stdout);
}

int main(int argc, char **argv) {
  set_pages = parse_size(option(argc, argv, "--set", "32M")) / PAGE_BYTES;
  folder = option(argc, argv, "--files", NULL);
  data = option(argc, argv, "--data", NULL);
  draw ^= now_ns() * 2 + 1;
  make_vocabulary();
  uint64_t start = now_ns(), said = start, rested = start;
  while (now_ns() - start < RUN_SECONDS_MAX * 1000000000ull) {
    step_slot();
    if (folder != NULL) step_file();
    if (data != NULL && ops % 8 == 0) step_data();
    ops++;
    /* Leaves the agent in the guest, and the hosts, half of the processor. */
    if (ops % 4 == 0) sleep_us((now_ns() - rested) / 1000), rested = now_ns();
    if (now_ns() - said < 100000000ull) continue;
    report();
    said = now_ns();
  }
  return 0;
}
