/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs share that a guest runs for a benchmark: memory, settings,
 * and lines for the host on the port org.page-hinting.bench, see watch.py:
 *
 *   mark NAME			the guest is there
 *   counter MARK NAME VALUE	the page_hint_* of /proc/vmstat at that mark
 *   value NAME VALUE		what the program measured itself
 *
 * Each program begins with SETTING... "--", done in this order and before each
 * thing it measures:
 *
 *   PATH=VALUE			written to the file; a short PATH is a tunable
 *   wait=SECONDS
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "port.h"

#define MIB		(1UL << 20)
#define HUGE_SIZE	(2 * MIB)
#define PAGE_BYTES	4096UL
#define BENCH_PORT	"org.page-hinting.bench"
#define TUNABLES	"/sys/kernel/mm/page_hinting/"

static inline void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("not ok 1 ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(1);
}

static inline void finish(const char *name)
{
	printf("ok 1 %s\n", name);
	exit(0);
}

static inline int host(void)
{
	static int port = -1;

	if (port < 0)
		port = port_open(BENCH_PORT);
	if (port < 0)
		fail("no port " BENCH_PORT);
	return port;
}

/* A line arrives whole or not at all. */
static inline void __attribute__((format(printf, 1, 2)))
tell(const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vdprintf(host(), format, args);
	va_end(args);
	if (len < 0)
		fail("write to the host: %s", strerror(errno));
}

/*
 * The host has taken down where it stands when this returns. No sleep: the clock
 * of an idle guest runs ahead under icount.
 */
static inline void mark(const char *name)
{
	struct pollfd answer = { .fd = host(), .events = POLLIN };
	char byte;

	tell("mark %s\n", name);
	while (!poll(&answer, 1, 0))
		;
	if (read(answer.fd, &byte, 1) != 1)
		fail("no answer to the mark %s", name);
}

static inline void value(const char *name, int64_t number)
{
	tell("value %s %" PRId64 "\n", name, number);
}

static inline void counters(const char *when)
{
	FILE *file = fopen("/proc/vmstat", "r");
	char line[128];

	if (!file)
		fail("/proc/vmstat: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "page_hint_", 10))
			tell("counter %s %s", when, line);
	fclose(file);
}

static inline int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		return 0;
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = strlen(text);

	if (fd < 0 || write(fd, text, len) != len || close(fd))
		fail("%s: %s", path, strerror(errno));
}

/* The settings; returns how many arguments they are, with the "--". */
static inline int settle(char **argv)
{
	char path[256], *text;
	int n;

	for (n = 1; argv[n] && strcmp(argv[n], "--"); n++) {
		text = strchr(argv[n], '=');
		if (!text)
			fail("%s: no VALUE", argv[n]);
		if (!strncmp(argv[n], "wait=", 5)) {
			usleep(atof(text + 1) * 1e6);
			continue;
		}
		snprintf(path, sizeof(path), "%s%.*s",
			 *argv[n] == '/' ? "" : TUNABLES,
			 (int)(text - argv[n]), argv[n]);
		write_file(path, text + 1);
	}
	if (!argv[n])
		fail("no -- after the settings");
	return n;
}

/* The arguments behind the settings, of which there must be as many. */
static inline char **arguments(int argc, char **argv, int least, const char *usage)
{
	int n = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..1\n");
	while (n < argc && strcmp(argv[n], "--"))
		n++;
	if (argc - n - 1 < least)
		fail("usage: [SETTING=VALUE]... -- %s", usage);
	return argv + n + 1;
}

/* Starts at a huge page, so that all of it can be huge pages. */
static inline char *map_pages(size_t size, int thp)
{
	char *area = mmap(NULL, size + HUGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t head = -(uintptr_t)area % HUGE_SIZE;

	if (area == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	if ((head && munmap(area, head)) ||
	    munmap(area + head + size, HUGE_SIZE - head))
		fail("munmap: %s", strerror(errno));
	if (madvise(area + head, size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		fail("madvise: %s", strerror(errno));
	return area + head;
}

static inline void touch(char *area, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE_BYTES)
		((volatile char *)area)[i] = 1;
}

static inline void unmap(char *area, size_t size)
{
	if (munmap(area, size))
		fail("munmap: %s", strerror(errno));
}

#endif /* BENCH_H */
