/* memhold: holds memory whose content compresses about 2:1 and is not written again: what a program keeps.
 *
 *   memhold [SIZE [PAGES]]      default 256M; pages checked per second, default 2000
 *
 * Work: pages checked. Checked: a page's words follow from its number; it is made again and compared whole.
 */
#include "content.h"
#include "work.h"

#define WORDS (PAGE_BYTES / 8)
#define BATCH 20

int memhold_main(int argc, char **argv) {
  uint64_t pages = size_argument(argc, argv, 1, "256M") / PAGE_BYTES, rate = size_argument(argc, argv, 2, "2000");
  if (pages == 0 || rate == 0) return 2;
  uint64_t(*memory)[WORDS] = zeroed(pages * PAGE_BYTES), wanted[WORDS];
  for (uint64_t i = 0; i < pages; i++) fill_words(memory[i], WORDS, i + 1, RANDOM_OF_16_MIXED);
  work_begins();
  for (uint64_t at = 0; work_goes_on();) {
    for (uint64_t end = at + BATCH; at < end; at++) {
      uint64_t page = at % pages;
      fill_words(wanted, WORDS, page + 1, RANDOM_OF_16_MIXED);
      if (memcmp(wanted, memory[page], sizeof wanted) != 0) work_failed("page %llu", (unsigned long long)page);
    }
    work_done(BATCH);
    sleep_us(BATCH * 1000000 / rate);
  }
  return 0;
}
