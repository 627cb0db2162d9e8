/* Appends checksummed records to a file, each made durable, or checks such a file.
 *
 *   filelog write FILE [--rate RECORDS_PER_S]      prints every 100 ms:  L seq=<last synced record> ms=<monotonic clock>
 *   filelog check FILE [--at-least SEQ]            prints:  C records=<n> last=<seq> bad=<damaged> ; exit 1 if damaged or short
 *
 * A record is 512 bytes: magic, sequence, content made from the sequence, checksum. After a restart writing goes on after
 * the last record. A record that was said to be synced and is not there, or damaged, is a lost write.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "content.h"

#define MAGIC 0x676f6c79727265full
#define BODY_WORDS 61u
/* The file wraps to nothing after this many records (256 MiB), so that it cannot fill a disk. */
#define RECORDS_MAX 524288ull

struct record {
  uint64_t magic, sequence, body[BODY_WORDS], checksum;
};

static void make_record(struct record *r, uint64_t sequence) {
  r->magic = MAGIC;
  r->sequence = sequence;
  fill_words(r->body, BODY_WORDS, sequence, RANDOM_OF_16_MIXED);
  uint64_t sum = sequence;
  for (uint32_t i = 0; i < BODY_WORDS; i++) sum = mix64(sum ^ r->body[i]);
  r->checksum = sum;
}

static int check_file(const char *path, uint64_t at_least) {
  FILE *file = fopen(path, "r");
  struct record found, wanted;
  uint64_t records = 0, damaged = 0;
  if (file == NULL) {
    perror(path);
    return 2;
  }
  for (; records < RECORDS_MAX && fread(&found, sizeof found, 1, file) == 1; records++) {
    make_record(&wanted, records);
    if (memcmp(&found, &wanted, sizeof found) != 0) damaged++;
  }
  fclose(file);
  printf("C records=%llu last=%lld bad=%llu\n", (unsigned long long)records, (long long)records - 1,
         (unsigned long long)damaged);
  return damaged != 0 || records < at_least + (at_least != 0);
}

static int write_file(const char *path, uint64_t rate) {
  int fd = open(path, O_WRONLY | O_CREAT, 0644);
  struct stat at;
  struct record r;
  if (fd < 0 || fstat(fd, &at) != 0) {
    perror(path);
    return 2;
  }
  uint64_t sequence = (uint64_t)at.st_size / sizeof r, start = now_ns(), said = 0;
  if (ftruncate(fd, (off_t)(sequence * sizeof r)) != 0) return 2;
  for (; sequence < RECORDS_MAX && now_ns() - start < RUN_SECONDS_MAX * 1000000000ull; sequence++) {
    make_record(&r, sequence);
    if (pwrite(fd, &r, sizeof r, (off_t)(sequence * sizeof r)) != (ssize_t)sizeof r || fsync(fd) != 0) {
      printf("L failed seq=%llu\n", (unsigned long long)sequence);
      perror(path);
      return 1;
    }
    if (now_ms() - said >= 100) {
      said = now_ms();
      printf("L seq=%llu ms=%llu\n", (unsigned long long)sequence, (unsigned long long)said);
      fflush(stdout);
    }
    sleep_us(1000000 / rate);
  }
  return 0;
}

int main(int argc, char **argv) {
  make_vocabulary();
  if (argc >= 3 && strcmp(argv[1], "check") == 0)
    return check_file(argv[2], parse_size(option(argc, argv, "--at-least", "0")));
  uint64_t rate = parse_size(option(argc, argv, "--rate", "100"));
  if (argc >= 3 && strcmp(argv[1], "write") == 0 && rate >= 1 && rate <= 100000) return write_file(argv[2], rate);
  fprintf(stderr, "Usage: filelog write|check FILE\n");
  return 2;
}
