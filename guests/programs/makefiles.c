/* Runs on the host while the data disk is built: writes files with realistic content into a folder.
 *
 *   makefiles FOLDER BYTES      files of 8 MiB; in each, blocks of 64 KiB of text, of mixed data and of dense data
 */
#include <unistd.h>

#include "arguments.h"
#include "content.h"

#define FILE_BYTES (8u << 20)
#define BLOCK_WORDS 8192u

int main(int argc, char **argv) {
  if (argc < 3 || chdir(argv[1]) != 0) return 2;
  static uint64_t block[BLOCK_WORDS];
  uint64_t files = parse_size(argv[2]) / FILE_BYTES, seed = DATA_SEED;
  make_vocabulary();
  for (uint64_t i = 0; i < files; i++) {
    char name[32];
    snprintf(name, sizeof name, "file-%03llu", (unsigned long long)i);
    FILE *file = fopen(name, "w");
    for (uint32_t done = 0; file != NULL && done < FILE_BYTES; done += sizeof block) {
      seed++;
      fill_words(block, BLOCK_WORDS, seed, data_kinds[seed & 7]);
      if (fwrite(block, sizeof block, 1, file) != 1) return 1;
    }
    if (file == NULL || fclose(file) != 0) return 1;
  }
  return 0;
}
