/* Real servers that die at the worst moment: listens on port PORT of COUNT addresses from FIRST on, accepts and closes. A line "i" on standard
 * input sentences number i: with the next connection that it accepts, which is a check that passes, it stops listening, and a line
 * "i NANOSECONDS" (CLOCK_MONOTONIC, from just before) is written. In C so that it takes little of the guest's one CPU from those that are measured. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024
static int listening[MOST], sentenced[MOST];

static void sentence(int count) {
  char line[4096];
  ssize_t got = read(0, line, sizeof line - 1);
  if (got <= 0) exit(0);
  line[got] = 0;
  for (char *word = strtok(line, "\n"); word; word = strtok(NULL, "\n")) {
    int i = atoi(word);
    if (i >= 0 && i < count) sentenced[i] = 1;
  }
}

static void serve(int i) {
  int client = accept(listening[i], NULL, NULL);
  if (client < 0) return;
  if (sentenced[i]) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    close(listening[i]);
    printf("%d %lld\n", i, now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(stdout);
  }
  close(client);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  in_addr_t first = ntohl(inet_addr(argv[1]));
  int port = atoi(argv[2]), count = atoi(argv[3]), set = epoll_create1(0);
  if (count > MOST) return 2;
  for (int i = 0; i < count; i++) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(first + i) };
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
    listening[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listening[i], (struct sockaddr *)&address, sizeof address) != 0 || listen(listening[i], 64) != 0 || epoll_ctl(set, EPOLL_CTL_ADD, listening[i], &event) != 0) {
      perror("dying");
      return 1;
    }
  }
  struct epoll_event input = { .events = EPOLLIN, .data.u32 = MOST };
  epoll_ctl(set, EPOLL_CTL_ADD, 0, &input);
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[64];
    int n = epoll_wait(set, events, 64, -1);
    for (int k = 0; k < n; k++) {
      if (events[k].data.u32 == MOST) sentence(count);
      else serve(events[k].data.u32);
    }
  }
}
