/* Content that compresses as real memory and files do, made from a seed: the same seed gives the same bytes.
 *
 * A page is a mix of words from a small vocabulary and of random words; the share of random words decides how well it
 * compresses (zstd level 1, 1 MiB batches): see RANDOM_OF_16_* below for the measured ratios.
 */
#ifndef CONTENT_H
#define CONTENT_H
#include <stdint.h>
#include <string.h>

#define PAGE_BYTES 4096u
#define VOCABULARY 512u

/* Random words among 16: measured ratios under zstd level 1. */
#define RANDOM_OF_16_TEXT 0u
#define RANDOM_OF_16_MIXED 6u
#define RANDOM_OF_16_DENSE 16u

/* The files of the data disk: block n of 64 KiB, counted over all files, has seed DATA_SEED + 1 + n and the kind of its seed. */
#define DATA_SEED 0x7665727279ull
static const uint32_t data_kinds[8] = {RANDOM_OF_16_TEXT,  RANDOM_OF_16_MIXED, RANDOM_OF_16_TEXT, RANDOM_OF_16_MIXED,
                                       RANDOM_OF_16_DENSE, RANDOM_OF_16_MIXED, RANDOM_OF_16_TEXT, RANDOM_OF_16_MIXED};

static uint64_t vocabulary[VOCABULARY];

static inline uint64_t mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/* Words like "kolasti " of letters that alternate, so that they look like text to a compressor. */
static inline void make_vocabulary(void) {
  static const char consonants[] = "bcdfghklmnprstvz", vowels[] = "aeiouaeo";
  for (uint64_t i = 0; i < VOCABULARY; i++) {
    uint64_t r = mix64(i + 1);
    char word[8];
    for (int k = 0; k < 8; k++, r >>= 4) word[k] = (k & 1) ? vowels[r & 7] : consonants[r & 15];
    word[7 - (r & 1)] = ' ';
    memcpy(&vocabulary[i], word, 8);
  }
}

/* Runs of up to three consecutive vocabulary words make phrases. */
static inline void fill_words(uint64_t *out, uint32_t count, uint64_t seed, uint32_t random_of_16) {
  uint64_t state = mix64(seed) | 1;
  for (uint32_t i = 0; i < count;) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if ((state & 15) < random_of_16) {
      out[i++] = state * 0x9e3779b97f4a7c15ull;
    } else {
      uint32_t at = (state >> 8) & (VOCABULARY - 1);
      for (uint32_t k = 0; k <= ((state >> 32) & 1) && i < count; k++) out[i++] = vocabulary[(at + k) & (VOCABULARY - 1)];
    }
  }
}
#endif
