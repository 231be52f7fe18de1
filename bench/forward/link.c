/*
 * A wire between two network namespaces that takes time, loses packets and lets some be overtaken.
 *
 *     link <namespace file> <namespace file> <delay, us, one way> <loss, of 10000> <overtaken, of 10000>
 *          [<rate, bytes per ms> <queue, bytes>]
 *
 * It makes a TUN interface named `wire` in each namespace, says `ready`, and carries IP packets between them until its
 * standard input ends. Then it says what it carried: `<packets> <lost> <overtaken> <too many at once>`.
 * A packet that is overtaken takes 1 ms longer than the others. With a rate, each way is a bottleneck with a queue before
 * it that drops what it has no room for. Each line of standard input is answered with what got through from the first to
 * the second namespace so far, in bytes: `<UDP> <TCP>`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* 50 ms at 7.8 Gbit/s: more than two cores ever bring about */
#define SLOTS 32768u
/* an MTU of 1500 fits */
#define SIZE 1536
/* packets that are read from one side before the other one is looked at */
#define BATCH 64
#define OVERTAKEN_NS 1000000

struct packet {
  uint64_t due; /* ns */
  uint16_t length;
  uint8_t bytes[SIZE];
};

/* packets that all take equally long, so the first in is the first out */
struct queue {
  struct packet *packets;
  uint32_t head, tail;
};

struct direction {
  int from, to;
  struct queue punctual, late;
  uint64_t free; /* ns: when the bottleneck is through with what waits before it */
  uint64_t udp, tcp; /* bytes */
};

/* of the bottleneck; a rate of 0 is none */
static uint64_t rate, room;

static uint64_t carried, lost, overtaken, overflowed;
static uint64_t random_state = 88172645463325252u;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* xorshift64 (Marsaglia): the same losses in every run */
static uint32_t drawn(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)((random_state >> 32) % 10000u);
}

static int tun(const char *namespace) {
  int file = open(namespace, O_RDONLY | O_CLOEXEC);
  if (file < 0 || setns(file, CLONE_NEWNET) < 0) fail(namespace);
  close(file);
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) fail("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, "wire");
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(device, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  return device;
}

static struct packet *free_slot(struct queue *queue) {
  return queue->tail - queue->head == SLOTS ? NULL : &queue->packets[queue->tail % SLOTS];
}

/* takes in up to BATCH packets; the time is that before the first of them */
static int take(struct direction *way, uint64_t time, uint64_t delay, uint32_t loss, uint32_t late) {
  static uint8_t nowhere[SIZE];
  for (int count = 0; count < BATCH; count++) {
    int overtake = late > 0 && drawn() < late;
    struct queue *queue = overtake ? &way->late : &way->punctual;
    struct packet *slot = free_slot(queue);
    ssize_t length = read(way->from, slot ? slot->bytes : nowhere, SIZE);
    if (length < 0) return count;
    uint64_t passed = time;
    if (rate > 0) {
      if (way->free > time) passed = way->free;
      passed += (uint64_t)length * 1000000u / rate;
    }
    if (loss > 0 && drawn() < loss) {
      lost++;
    } else if (!slot || (rate > 0 && (passed - time) * rate > room * 1000000u)) {
      overflowed++;
    } else {
      if (rate > 0) way->free = passed;
      /* the protocol of an IPv4 packet: RFC 791 section 3.1 */
      if (slot->bytes[9] == 17) way->udp += (uint64_t)length;
      if (slot->bytes[9] == 6) way->tcp += (uint64_t)length;
      slot->length = (uint16_t)length;
      slot->due = passed + delay + (overtake ? OVERTAKEN_NS : 0);
      queue->tail++;
      carried++;
      overtaken += (uint64_t)overtake;
    }
  }
  return BATCH;
}

/* hands on what is due, and says when the next one is: UINT64_MAX for never */
static uint64_t give(struct direction *way, struct queue *queue, uint64_t time) {
  while (queue->head != queue->tail) {
    struct packet *packet = &queue->packets[queue->head % SLOTS];
    if (packet->due > time) return packet->due;
    if (write(way->to, packet->bytes, packet->length) < 0 && errno != EIO && errno != EINVAL) overflowed++;
    queue->head++;
  }
  return UINT64_MAX;
}

static struct queue made(void) {
  struct queue queue = {malloc(sizeof(struct packet) * SLOTS), 0, 0};
  if (!queue.packets) fail("malloc");
  return queue;
}

int main(int argc, char **argv) {
  if (argc != 6 && argc != 8) return 2;
  uint64_t delay = strtoull(argv[3], NULL, 10) * 1000u;
  uint32_t loss = (uint32_t)strtoul(argv[4], NULL, 10), late = (uint32_t)strtoul(argv[5], NULL, 10);
  if (argc == 8) {
    rate = strtoull(argv[6], NULL, 10);
    room = strtoull(argv[7], NULL, 10);
  }
  int one = tun(argv[1]), other = tun(argv[2]);
  struct direction ways[2] = {{one, other, made(), made(), 0, 0, 0}, {other, one, made(), made(), 0, 0, 0}};
  prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0); /* ns */
  printf("ready\n");
  fflush(stdout);
  struct pollfd wanted[3] = {{one, POLLIN, 0}, {other, POLLIN, 0}, {0, POLLIN, 0}};
  for (;;) {
    uint64_t next = UINT64_MAX, time = now();
    int taken = 0;
    for (int index = 0; index < 2; index++) {
      taken += take(&ways[index], time, delay, loss, late);
      uint64_t punctual = give(&ways[index], &ways[index].punctual, time);
      uint64_t behind = give(&ways[index], &ways[index].late, time);
      if (punctual < next) next = punctual;
      if (behind < next) next = behind;
    }
    if (taken > 0) continue;
    struct timespec pause = {0, 0};
    time = now();
    if (next != UINT64_MAX && next > time) {
      pause.tv_sec = (time_t)((next - time) / 1000000000u);
      pause.tv_nsec = (long)((next - time) % 1000000000u);
    }
    if (ppoll(wanted, 3, next == UINT64_MAX ? NULL : &pause, NULL) < 0 && errno != EINTR) fail("ppoll");
    char word[64];
    if (!wanted[2].revents) continue;
    if (read(0, word, sizeof word) <= 0) break;
    printf("%lu %lu\n", ways[0].udp, ways[0].tcp);
    fflush(stdout);
  }
  printf("%lu %lu %lu %lu\n", carried, lost, overtaken, overflowed);
  return 0;
}
