// SPDX-License-Identifier: GPL-2.0
/*
 * Touch memory, free it, and wait for it to go back to the host. Tells the
 * host on the port org.page-hinting.step where it stands:
 *
 *   counter MARK NAME VALUE	the page_hint_* of /proc/vmstat at that mark
 *   mark rest			nothing has happened for a while
 *   mark peak			all is touched
 *   mark freed			munmap() has returned
 *   mark end
 *
 * usage: step MIB 4k|thp SETTLE_SECONDS SECONDS
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "port.h"

#define MIB		(1UL << 20)
#define HUGE_SIZE	(2 * MIB)
#define WARM_UP_SIZE	(64 * MIB)
#define PREFIX		"page_hint_"

static int port;

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("not ok 1 step: ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	exit(1);
}

/* The line arrives whole or not at all. */
static void mark(const char *name)
{
	if (dprintf(port, "mark %s\n", name) < 0)
		fail("write to the host: %s", strerror(errno));
}

static void counters(const char *when)
{
	FILE *file = fopen("/proc/vmstat", "r");
	char line[128];

	if (!file)
		fail("/proc/vmstat: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, PREFIX, strlen(PREFIX)))
			continue;
		if (dprintf(port, "counter %s %s", when, line) < 0)
			fail("write to the host: %s", strerror(errno));
	}
	fclose(file);
}

/* Starts at a huge page, so that all of it can be huge pages. */
static char *map(size_t size, int thp)
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

static void touch(char *area, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < size; i += page)
		((volatile char *)area)[i] = 1;
}

static size_t huge_bytes(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	size_t kb, found = SIZE_MAX;
	char line[128];

	if (!file)
		fail("/proc/self/smaps_rollup: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "AnonHugePages: %zu kB", &kb) == 1)
			found = kb << 10;
	fclose(file);
	if (found == SIZE_MAX)
		fail("no AnonHugePages in /proc/self/smaps_rollup");
	return found;
}

/* 5 % may be small pages for want of free huge ones. */
static void check_page_size(size_t size, int thp)
{
	size_t huge = huge_bytes();

	if (thp ? huge < size / 100 * 95 : huge > 0)
		fail("%zu of %zu MiB are huge pages", huge / MIB, size / MIB);
}

static void free_all(char *area, size_t size)
{
	if (munmap(area, size))
		fail("munmap: %s", strerror(errno));
}

/*
 * An emulator keeps the code that it has translated, and that counts as memory
 * of the process: let it see all of this program once before the measurement.
 */
static void warm_up(size_t size, int thp)
{
	char *area = map(size, thp);

	touch(area, size);
	check_page_size(size, thp);
	free_all(area, size);
}

int main(int argc, char **argv)
{
	size_t size = argc == 5 ? strtoul(argv[1], NULL, 10) * MIB : 0;
	int thp = size && !strcmp(argv[2], "thp");
	char *area;

	printf("TAP version 13\n1..1\n");
	if (!size)
		fail("usage: step MIB 4k|thp SETTLE_SECONDS SECONDS");
	port = port_open("org.page-hinting.step");
	if (port < 0)
		fail("no port org.page-hinting.step");

	warm_up(size < WARM_UP_SIZE ? size : WARM_UP_SIZE, thp);
	sleep(atoi(argv[3]));
	counters("rest");
	mark("rest");

	area = map(size, thp);
	touch(area, size);
	check_page_size(size, thp);
	mark("peak");
	free_all(area, size);
	mark("freed");

	sleep(atoi(argv[4]));
	mark("end");
	counters("end");
	printf("ok 1 step\n");
	return 0;
}
