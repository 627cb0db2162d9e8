/* Echoes every byte on a TCP port, for up to 64 connections at a time.
 *
 *   tcpecho PORT      prints once a second where something changed:  E open=<connections> bytes=<echoed so far>
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arguments.h"

#define CONNECTIONS_MAX 64

static int echo(int fd, uint64_t *bytes) {
  char buffer[16384];
  ssize_t got = recv(fd, buffer, sizeof buffer, 0);
  for (ssize_t sent = 0; sent < got;) {
    ssize_t n = send(fd, buffer + sent, (size_t)(got - sent), 0);
    if (n <= 0) return 0;
    sent += n;
  }
  *bytes += got > 0 ? (uint64_t)got : 0;
  return got > 0;
}

int main(int argc, char **argv) {
  struct pollfd fds[1 + CONNECTIONS_MAX];
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
  struct sockaddr_in address4 = {.sin_family = AF_INET};
  int yes = 1, count = 1, port = argc > 1 ? atoi(argv[1]) : 7;
  address4.sin_port = address.sin6_port = htons((uint16_t)port);
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET6, SOCK_STREAM, 0), six = listener >= 0;
  if (!six) listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if ((six ? bind(listener, (void *)&address, sizeof address) : bind(listener, (void *)&address4, sizeof address4)) ||
      listen(listener, 16)) {
    perror("tcpecho");
    return 1;
  }
  fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
  uint64_t start = now_ms(), said = start, bytes = 0, bytes_said = 0;
  int count_said = 1;
  while (now_ms() - start < RUN_SECONDS_MAX * 1000) {
    poll(fds, (nfds_t)count, 1000);
    for (int i = count - 1; i >= 1; i--) {
      if (fds[i].revents == 0 || echo(fds[i].fd, &bytes)) continue;
      close(fds[i].fd);
      fds[i] = fds[--count];
    }
    if (fds[0].revents & POLLIN) {
      int fd = accept(listener, NULL, NULL);
      if (fd >= 0 && count <= CONNECTIONS_MAX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
      } else if (fd >= 0) {
        close(fd);
      }
    }
    if (now_ms() - said >= 1000 && (bytes != bytes_said || count != count_said)) {
      printf("E open=%d bytes=%llu\n", count - 1, (unsigned long long)bytes);
      fflush(stdout);
      said = now_ms(), bytes_said = bytes, count_said = count;
    }
  }
  return 0;
}
