// SPDX-License-Identifier: GPL-2.0
/*
 * Touch memory, free it, and wait for it to go back to the host. Marks:
 *
 *   rest	nothing has happened for a while
 *   peak	all is touched
 *   freed	munmap() has returned
 *   later	half of the time has gone
 *   end
 *
 * usage: step SETTING... -- MIB 4k|thp SECONDS
 */
#include "bench.h"

#define WARM_UP_SIZE	(64 * MIB)

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

/*
 * An emulator keeps the code that it has translated, and that counts as memory
 * of the process: let it see all of this program once before the measurement.
 */
static void warm_up(size_t size, int thp)
{
	char *area = map_pages(size, thp);

	touch(area, size);
	check_page_size(size, thp);
	unmap(area, size);
}

int main(int argc, char **argv)
{
	char **args = arguments(argc, argv, 3, "MIB 4k|thp SECONDS");
	size_t size = strtoul(args[0], NULL, 10) * MIB;
	int thp = !strcmp(args[1], "thp");
	char *area;

	warm_up(size < WARM_UP_SIZE ? size : WARM_UP_SIZE, thp);
	settle(argv);
	counters("rest");
	mark("rest");

	area = map_pages(size, thp);
	touch(area, size);
	check_page_size(size, thp);
	mark("peak");
	unmap(area, size);
	mark("freed");

	usleep(atoi(args[2]) * 500000);
	mark("later");
	usleep(atoi(args[2]) * 500000);
	mark("end");
	counters("end");
	finish("step");
}
