/* The real servers of the health-check benchmark: accepts on port 8080 of every local address, and closes. In C so that it takes little of
 * the guest's one CPU from those that are measured. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(8080) };
  int server = socket(AF_INET, SOCK_STREAM, 0);
  if (server < 0 || bind(server, (struct sockaddr *)&address, sizeof address) != 0 || listen(server, 65535) != 0) {
    perror("listener");
    return 1;
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    int client = accept(server, NULL, NULL);
    if (client >= 0) close(client);
  }
}
