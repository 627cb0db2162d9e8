/* tally: tells the work of a program that is not ours, from the lines that a script makes of what that says.
 *
 *   tally NAME < lines      "+N": N units more were done; "=N": N units in all; "!TEXT": a failure; others are printed
 */
#include <unistd.h>

#include "work.h"

int tally_main(int argc, char **argv) {
  char line[512];
  if (argc < 2) return 2;
  work_is_of(argv[1]);
  work_begins();
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    switch (line[0]) {
      case '+': work_done(strtoull(&line[1], NULL, 10)); break;
      case '=': work_total(strtoull(&line[1], NULL, 10)); break;
      case '!': work_failed("%s", &line[1]); break;
      default: printf("%s: %s\n", argv[1], line); fflush(stdout);
    }
  }
  work_failed("the program has ended");
  sleep(2);
  return 1;
}
