// SPDX-License-Identifier: GPL-2.0
/*
 * Loops that do little but allocate and free, one after another, and what they
 * cost: their own time, and that of kernel threads until all is quiet again. To
 * be run with one CPU under icount, where that is the number of instructions.
 * Values: work-NAME, later-NAME.
 *
 * usage: overhead SETTING... -- REST_SECONDS NAME:ROUNDS...
 */
#include <sys/socket.h>

#include "kthreads.h"

#define AREA		(128 * MIB)
#define POOL		"/proc/sys/vm/nr_hugepages"
#define PACKET		32768
#define PACKETS		8

static void anonymous(int rounds, int huge)
{
	while (rounds--) {
		char *area = map_pages(AREA, huge);

		touch(area, AREA);
		unmap(area, AREA);
	}
}

/* As page_fault1 of will-it-scale. */
static void fault1(int rounds)
{
	anonymous(rounds, 0);
}

/* As page_fault2: a private mapping of a file. */
static void fault2(int rounds)
{
	int fd = open("/tmp/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, AREA))
		fail("/tmp/file: %s", strerror(errno));
	while (rounds--) {
		char *area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

		if (area == MAP_FAILED)
			fail("mmap: %s", strerror(errno));
		touch(area, AREA);
		unmap(area, AREA);
	}
	close(fd);
	unlink("/tmp/file");
}

static void thp(int rounds)
{
	anonymous(rounds, 1);
}

static void hugetlb(int rounds)
{
	while (rounds--) {
		write_file(POOL, "64");
		write_file(POOL, "0");
	}
}

/* Buffers of sockets: slab, and pages of several orders. */
static void skb(int rounds)
{
	static char packet[PACKET];
	int pair[2], size = 2 * PACKET * PACKETS;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		fail("socketpair: %s", strerror(errno));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	while (rounds--) {
		for (int i = 0; i < PACKETS; i++)
			if (send(pair[0], packet, PACKET, 0) != PACKET)
				fail("send: %s", strerror(errno));
		for (int i = 0; i < PACKETS; i++)
			if (recv(pair[1], packet, PACKET, 0) != PACKET)
				fail("recv: %s", strerror(errno));
	}
	close(pair[0]);
	close(pair[1]);
}

static const struct {
	const char *name;
	void (*run)(int rounds);
} loops[] = {
	{ "fault1", fault1 }, { "fault2", fault2 }, { "thp", thp },
	{ "hugetlb", hugetlb }, { "skb", skb },
};

static void measure(const char *name, int rounds, int rest)
{
	struct kthreads before, after;
	int64_t start, work;
	char what[64];
	size_t i;

	for (i = 0; i < sizeof(loops) / sizeof(*loops); i++)
		if (!strcmp(loops[i].name, name))
			break;
	if (i == sizeof(loops) / sizeof(*loops))
		fail("no loop %s", name);
	start = now_ns();
	loops[i].run(rounds);
	work = now_ns() - start;
	before = read_kthreads();
	sleep(rest);
	after = read_kthreads();
	snprintf(what, sizeof(what), "work-%s", name);
	value(what, work);
	snprintf(what, sizeof(what), "later-%s", name);
	value(what, after.hints_ns - before.hints_ns +
	      after.workers_ns - before.workers_ns);
}

int main(int argc, char **argv)
{
	char **args = arguments(argc, argv, 2, "REST_SECONDS NAME:ROUNDS...");

	for (char **arg = args + 1; *arg; arg++) {
		char *rounds = strchr(*arg, ':');

		if (!rounds)
			fail("%s: no ROUNDS", *arg);
		*rounds++ = '\0';
		settle(argv);
		measure(*arg, atoi(rounds), atoi(args[0]));
	}
	finish("overhead");
}
