/* mailfiles: the file system work of a mail server, after J. Katcher's PostMark (NetApp TR-3022, 1997), with which
 * SonicMigration measured migration noise: a pool of small files in many folders; a transaction creates or deletes one,
 * and reads one whole or appends to one and syncs it.
 *
 *   mailfiles FOLDER [FILES [RATE [SECONDS RATE2]]]      default 500 files, and as many transactions/s as there can be (0)
 *
 * After SECONDS the rate is RATE2: the paper's guest whose load grows. Work: transactions. Checked: each file that is read
 * or deleted has the length and the content that were written.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "content.h"
#include "work.h"

#define FOLDERS 16u
#define FILES_MAX 100000u
#define FIRST_BYTES_MIN 512u
#define FIRST_BYTES_MAX 10240u
#define FILE_BYTES_MAX 32768u

/* A file's content is the beginning of what its seed makes; length 0: it is not there. */
struct file {
  uint64_t seed;
  uint32_t bytes;
};

static struct file *files;
static uint32_t count;
static const char *folder;
static uint64_t draw = 88172645463325252ull, seeds;

static uint32_t below(uint32_t limit) {
  draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
  return (uint32_t)((draw >> 11) % limit);
}

static void path_of(char path[256], uint32_t number) {
  snprintf(path, 256, "%s/folder-%02u/file-%06u", folder, number % FOLDERS, number);
}

static const char *content_of(const struct file *f, uint32_t bytes) {
  static uint64_t words[FILE_BYTES_MAX / 8];
  fill_words(words, (bytes + 7) / 8, f->seed, RANDOM_OF_16_MIXED);
  return (const char *)words;
}

static void failed(const char *what, uint32_t number) { work_failed("%s of file %u: %s", what, number, strerror(errno)); }

static void create(uint32_t number) {
  char path[256];
  struct file *f = &files[number];
  *f = (struct file){.seed = ++seeds, .bytes = FIRST_BYTES_MIN + below(FIRST_BYTES_MAX - FIRST_BYTES_MIN)};
  path_of(path, number);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (fd < 0) return failed("create", number);
  if (write(fd, content_of(f, f->bytes), f->bytes) != (ssize_t)f->bytes) failed("write", number);
  close(fd);
}

static void read_whole(uint32_t number) {
  static char found[FILE_BYTES_MAX + 1];
  char path[256];
  struct file *f = &files[number];
  path_of(path, number);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return failed("open", number);
  ssize_t bytes = read(fd, found, sizeof found);
  close(fd);
  errno = 0;
  if (bytes != (ssize_t)f->bytes) return failed("length", number);
  if (memcmp(found, content_of(f, f->bytes), f->bytes) != 0) failed("content", number);
}

static void append(uint32_t number) {
  char path[256];
  struct file *f = &files[number];
  uint32_t more = 64 + below(2048);
  if (f->bytes + more > FILE_BYTES_MAX) return read_whole(number);
  path_of(path, number);
  int fd = open(path, O_WRONLY | O_APPEND);
  if (fd < 0) return failed("open", number);
  const char *content = content_of(f, f->bytes + more);
  if (write(fd, content + f->bytes, more) != (ssize_t)more || fsync(fd) != 0) failed("append", number);
  else f->bytes += more;
  close(fd);
}

static void delete(uint32_t number) {
  char path[256];
  read_whole(number);
  path_of(path, number);
  if (unlink(path) != 0) failed("delete", number);
  files[number].bytes = 0;
}

static void transact(void) {
  uint32_t number = below(count);
  if (files[number].bytes == 0) create(number);
  else delete(number);
  /* Half of the pool is there on average: look for one that is. */
  number = below(count);
  for (uint32_t i = 0; i < count && files[number].bytes == 0; i++) number = (number + 1) % count;
  if (files[number].bytes == 0) return;
  if (below(2) == 0) read_whole(number);
  else append(number);
}

static int make_pool(void) {
  for (uint32_t i = 0; i < FOLDERS; i++) {
    char path[256];
    snprintf(path, sizeof path, "%s/folder-%02u", folder, i);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return 0;
  }
  for (uint32_t i = 0; i < count; i += 1) {
    char path[256];
    path_of(path, i);
    unlink(path);
    if (i % 2 == 0) create(i);
  }
  return 1;
}

int mailfiles_main(int argc, char **argv) {
  count = (uint32_t)size_argument(argc, argv, 2, "500");
  uint64_t rate = size_argument(argc, argv, 3, "0"), change = size_argument(argc, argv, 4, "0");
  uint64_t rate2 = size_argument(argc, argv, 5, "0");
  if (argc < 2 || count < 16 || count > FILES_MAX) return 2;
  folder = argv[1];
  files = zeroed(count * sizeof *files);
  if (!make_pool()) {
    perror(folder);
    return 1;
  }
  work_begins();
  uint64_t start = now_ns(), due = start;
  while (work_goes_on()) {
    uint64_t now = now_ns(), wanted = change != 0 && now - start > change * 1000000000ull ? rate2 : rate;
    if (wanted != 0) {
      if (now < due) {
        sleep_us((due - now) / 1000 + 1);
        continue;
      }
      /* What was not reached is not made good by a burst. */
      due = (now - due > 50000000ull ? now : due) + 1000000000ull / wanted;
    }
    transact();
    work_done(1);
  }
  return 0;
}
