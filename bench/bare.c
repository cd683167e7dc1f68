// SPDX-License-Identifier: GPL-2.0
/*
 * The least that it costs the host to discard memory: touch as much, give it back
 * in pieces of 2 MiB, and print the CPU time of the latter, in ns.
 *
 * usage: bare thp|4k|memfd|hugetlb MIB	on the host
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <stdarg.h>

#include "bench.h"

static int open_memory(const char *kind, size_t size)
{
	int fd = memfd_create("bare", strcmp(kind, "memfd") ? MFD_HUGETLB : 0);

	if (fd < 0 || ftruncate(fd, size))
		fail("memfd: %s", strerror(errno));
	return fd;
}

int main(int argc, char **argv)
{
	size_t size = argc == 3 ? strtoul(argv[2], NULL, 10) * MIB : 0;
	int file = size && strcmp(argv[1], "thp") && strcmp(argv[1], "4k");
	int fd = -1;
	int64_t start;
	char *area;

	if (!size)
		fail("usage: bare thp|4k|memfd|hugetlb MIB");
	if (file) {
		fd = open_memory(argv[1], size);
		area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (area == MAP_FAILED)
			fail("mmap: %s", strerror(errno));
	} else {
		area = map_pages(size, !strcmp(argv[1], "thp"));
	}
	touch(area, size);
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (size_t at = 0; at < size; at += HUGE_SIZE)
		if (file ? fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
				     HUGE_SIZE) :
			   madvise(area + at, HUGE_SIZE, MADV_DONTNEED))
			fail("discard: %s", strerror(errno));
	printf("%" PRId64 "\n", clock_ns(CLOCK_THREAD_CPUTIME_ID) - start);
	return 0;
}
