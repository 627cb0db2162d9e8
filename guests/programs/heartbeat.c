/* Sends a UDP packet at an interval: the longest time between two arrivals at the receiver is the outage it saw.
 *
 *   heartbeat IPV4 PORT [--interval-us 1000] [--seconds 3600]
 *
 * Payload, little endian: u64 sequence from 0, u64 guest's monotonic clock in ns.
 */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "arguments.h"

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
  uint64_t interval = parse_size(option(argc, argv, "--interval-us", "1000"));
  uint64_t seconds = parse_size(option(argc, argv, "--seconds", "3600"));
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || fd < 0 || interval < 100) return 2;
  if (seconds > RUN_SECONDS_MAX) seconds = RUN_SECONDS_MAX;
  uint64_t start = now_ns(), packet[2] = {0, start};
  for (; packet[1] - start < seconds * 1000000000ull; packet[0]++) {
    packet[1] = now_ns();
    sendto(fd, packet, sizeof packet, MSG_DONTWAIT, (void *)&to, sizeof to);
    sleep_us(interval);
  }
  return 0;
}
