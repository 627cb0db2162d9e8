/* dhrystone: integer work with the statement mix that R. P. Weicker counted in systems programs (CACM 27/10, 1984): about
 * half assignments, a third control, a sixth calls; operands are integers, characters, enumerations, strings of 30
 * characters, records behind pointers, and arrays of one and two dimensions. No floating point, and it fits into a cache.
 *
 * Work: runs through the mix. Checked: after each batch, the counters have the values that follow from the number of runs,
 * and all that the runs write is bit for bit what the first batch left.
 */
#include "work.h"

#define BATCH 1000
#define EDGE 50
#define APART __attribute__((noinline))

enum choice { FIRST, SECOND, THIRD, FOURTH, FIFTH };
typedef char text30[31];

struct record {
  struct record *next;
  enum choice kind, chosen;
  int number;
  text30 text;
};

static struct state {
  struct record owner, member;
  int total, steps;
  enum choice turn;
  char first_letter, last_letter;
  int list[EDGE], table[EDGE][EDGE];
} s;

static APART enum choice after(enum choice c) { return c == FIFTH ? FIRST : (enum choice)(c + 1); }

static APART int same_letter(char one, char other, int *how_often) {
  char seen = one;
  if (seen != other) return 0;
  ++*how_often;
  s.first_letter = seen;
  return 1;
}

static APART int text_is_later(const char *one, const char *other, int *at) {
  int i = 0;
  while (i < 29 && one[i] == other[i]) i++;
  *at = i;
  if (one[i] == other[i]) return 0;
  if (one[i] >= 'W' && one[i] < 'Z') return 0;
  return strcmp(one, other) > 0;
}

static APART void sum_up(int one, int other, int *result) {
  int offset = one + 2;
  *result = other + offset;
}

static APART void fill_arrays(int *list, int (*table)[EDGE], int place, int value) {
  int at = place + 5;
  list[at] = value;
  list[at + 1] = list[at];
  list[at + 30] = at;
  for (int column = at; column <= at + 1; column++) table[at][column] = at;
  table[at][at - 1] += 1;
  table[at + 20][at] = list[at];
  s.steps = 5;
}

static APART void choose(enum choice wanted, enum choice *result) {
  *result = wanted;
  if (wanted != THIRD) *result = FOURTH;
  switch (wanted) {
    case FIRST: *result = FIRST; break;
    case SECOND: *result = s.total > 100 ? FIRST : FOURTH; break;
    case THIRD: *result = SECOND; break;
    case FOURTH: break;
    case FIFTH: *result = THIRD; break;
  }
}

static APART void hand_over(struct record **place) {
  if (s.owner.next != NULL) *place = s.owner.next;
  sum_up(10, s.total, &s.owner.number);
}

static APART void change_record(struct record *r) {
  struct record *next = r->next;
  *next = *r;
  r->number = 5;
  next->number = r->number;
  next->next = r->next;
  hand_over(&next->next);
  if (next->kind == FIRST) {
    next->number = 6;
    choose(r->chosen, &next->chosen);
    next->next = s.owner.next;
    sum_up(next->number, 10, &next->number);
  } else {
    *r = *next;
  }
}

static APART void run_once(int run) {
  static const text30 told = "DHRYSTONE PROGRAM, 2ND STRING ";
  int one = 2, two = 3, three = 0, at = 0;
  text30 text;
  enum choice chosen = SECOND;
  s.first_letter = 'A';
  s.turn = after(s.turn);
  strcpy(text, told);
  if (!text_is_later(s.owner.text, text, &at)) s.steps = at;
  while (one < two) {
    three = 5 * one - two;
    sum_up(one, two, &three);
    one++;
  }
  fill_arrays(s.list, s.table, one, three);
  change_record(&s.owner);
  for (char letter = 'A'; letter <= s.last_letter; letter++) {
    if (!same_letter(letter, 'C', &s.member.number)) continue;
    choose(FIRST, &chosen);
    strcpy(text, "DHRYSTONE PROGRAM, 3RD STRING ");
    two = run;
    s.total = run;
  }
  two = two * one;
  one = two / three;
  two = 7 * (two - three) - one;
  s.list[0] = two ^ chosen ^ text[20];
}

static uint64_t run_batch(void) {
  memset(&s, 0, sizeof s);
  s.owner = (struct record){.next = &s.member, .kind = FIRST, .chosen = THIRD, .number = 40};
  strcpy(s.owner.text, "DHRYSTONE PROGRAM, SOME STRING");
  s.last_letter = 'C';
  for (int run = 0; run < BATCH; run++) run_once(run);
  return digest(BATCH, &s, sizeof s & ~7ull);
}

int dhrystone_main(int argc, char **argv) {
  (void)argc, (void)argv;
  uint64_t wanted = run_batch();
  work_begins();
  while (work_goes_on()) {
    uint64_t found = run_batch();
    if (s.table[8][7] != BATCH || s.total != BATCH - 1 || s.turn != (enum choice)(BATCH % 5))
      work_failed("counters %d %d %d after %d runs", s.table[8][7], s.total, (int)s.turn, BATCH);
    else if (found != wanted)
      work_failed("state is %llx, was %llx", (unsigned long long)found, (unsigned long long)wanted);
    work_done(BATCH);
  }
  return 0;
}
