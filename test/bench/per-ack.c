/*
 * The peer that every other IPVS controller is: one generic netlink request, one acknowledgement, for each service and each
 * real server. And the floor: the same messages 64 KiB a send, acknowledged once. The table is workload.ts's. Not a tool:
 * it checks errors only to stop.
 *
 *   per-ack ack|batch SERVICES REALS SCHEDULER        prints the milliseconds from the first request to the last answer
 */
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
static char out[CHUNK + 4096], in[65536];
static size_t used;              /* bytes in out */
static struct nlmsghdr *message; /* the last one in out */
static int fd;
static unsigned sequence = 1;
static __u16 family = GENL_ID_CTRL;

static void fail(const char *what) { perror(what); exit(1); }

static struct nlattr *put(int type, const void *data, int length)
{
  struct nlattr *a = (struct nlattr *)(out + used);
  a->nla_type = type;
  a->nla_len = NLA_HDRLEN + length;
  memset((char *)a + NLA_HDRLEN, 0, NLA_ALIGN(length));
  if (length) memcpy((char *)a + NLA_HDRLEN, data, length);
  used += NLA_HDRLEN + NLA_ALIGN(length);
  return a;
}
static void put16(int type, __u16 v) { put(type, &v, 2); }
static void put32(int type, __u32 v) { put(type, &v, 4); }
static void close_nest(struct nlattr *nest) { nest->nla_len = out + used - (char *)nest; }

static void begin(int command)
{
  struct genlmsghdr *g;
  message = (struct nlmsghdr *)(out + used);
  g = NLMSG_DATA(message);
  memset(message, 0, NLMSG_HDRLEN + GENL_HDRLEN);
  message->nlmsg_type = family;
  message->nlmsg_flags = NLM_F_REQUEST;
  message->nlmsg_seq = sequence++;
  g->cmd = command;
  g->version = 1;
  used += NLMSG_HDRLEN + GENL_HDRLEN;
}
static void end(void) { message->nlmsg_len = out + used - (char *)message; }

/* Sends what is there and waits for the answer to its last message. */
static void flush(void)
{
  unsigned last = message->nlmsg_seq;
  if (!used) return;
  message->nlmsg_flags |= NLM_F_ACK;
  if (send(fd, out, used, 0) != (ssize_t)used) fail("send");
  used = 0;
  for (;;) {
    ssize_t n = recv(fd, in, sizeof in, 0);
    struct nlmsghdr *h = (struct nlmsghdr *)in;
    if (n < 0) fail("recv");
    for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
      struct nlmsgerr *e = NLMSG_DATA(h);
      if (h->nlmsg_type == GENL_ID_CTRL) { /* the family's id is in attribute 1 */
        char *p = (char *)NLMSG_DATA(h) + GENL_HDRLEN;
        while (p < (char *)h + h->nlmsg_len) {
          struct nlattr *a = (struct nlattr *)p;
          if (a->nla_type == CTRL_ATTR_FAMILY_ID) memcpy(&family, p + NLA_HDRLEN, 2);
          p += NLA_ALIGN(a->nla_len);
        }
      }
      if (h->nlmsg_type != NLMSG_ERROR) continue;
      if (e->error) { fprintf(stderr, "the kernel refused message %u: %s\n", h->nlmsg_seq, strerror(-e->error)); exit(1); }
      if (h->nlmsg_seq == last) return;
    }
  }
}

static void key(__u32 s)
{
  put16(IPVS_SVC_ATTR_AF, AF_INET);
  put16(IPVS_SVC_ATTR_PROTOCOL, IPPROTO_TCP);
  put32(IPVS_SVC_ATTR_ADDR, htonl(0x0a600001 + s));
  put16(IPVS_SVC_ATTR_PORT, htons(80));
}

static void add_service(__u32 s, const char *scheduler)
{
  struct ip_vs_flags flags = { 0, ~0u };
  struct nlattr *nest;
  begin(IPVS_CMD_NEW_SERVICE);
  nest = put(IPVS_CMD_ATTR_SERVICE, 0, 0);
  key(s);
  put(IPVS_SVC_ATTR_SCHED_NAME, scheduler, strlen(scheduler) + 1);
  put(IPVS_SVC_ATTR_FLAGS, &flags, sizeof flags);
  put32(IPVS_SVC_ATTR_TIMEOUT, 0);
  put32(IPVS_SVC_ATTR_NETMASK, ~0u);
  close_nest(nest);
  end();
}

static void add_real(__u32 s, __u32 i)
{
  struct nlattr *nest;
  begin(IPVS_CMD_NEW_DEST);
  nest = put(IPVS_CMD_ATTR_SERVICE, 0, 0);
  key(s);
  close_nest(nest);
  nest = put(IPVS_CMD_ATTR_DEST, 0, 0);
  put32(IPVS_DEST_ATTR_ADDR, htonl(0xac100001 + i));
  put16(IPVS_DEST_ATTR_PORT, htons(8080));
  put32(IPVS_DEST_ATTR_FWD_METHOD, 0);
  put32(IPVS_DEST_ATTR_WEIGHT, 1 + i % 3);
  put32(IPVS_DEST_ATTR_U_THRESH, 0);
  put32(IPVS_DEST_ATTR_L_THRESH, 0);
  put16(IPVS_DEST_ATTR_ADDR_FAMILY, AF_INET);
  close_nest(nest);
  end();
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
  struct sockaddr_nl address = { .nl_family = AF_NETLINK };
  int batch, services, reals, s, d;
  double start;
  if (argc != 5) { fprintf(stderr, "usage: per-ack ack|batch SERVICES REALS SCHEDULER\n"); return 2; }
  batch = strcmp(argv[1], "batch") == 0;
  services = atoi(argv[2]);
  reals = atoi(argv[3]);
  fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address)) fail("socket");
  start = now();
  begin(CTRL_CMD_GETFAMILY);
  put(CTRL_ATTR_FAMILY_NAME, IPVS_GENL_NAME, sizeof IPVS_GENL_NAME);
  end();
  flush();
  for (s = 0; s < services; s++) {
    for (d = -1; d < reals; d++) {
      if (d < 0) add_service(s, argv[4]);
      else add_real(s, s * reals + d);
      if (!batch || used > CHUNK - 256) flush();
    }
  }
  flush();
  printf("%.3f\n", now() - start);
  return 0;
}
