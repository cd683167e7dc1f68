// SPDX-License-Identifier: GPL-2.0
/*
 * Unmap memory, wait, and map and touch as much again, over and over; several gaps
 * one after another. What was given back before is in use when the rounds begin,
 * and is unmapped in the end. Marks: start-GAP before all that, begin-GAP and end-GAP,
 * and, when it has been quiet again, rest-GAP. Counters: start-GAP, rest-GAP.
 * Values: ns-GAP.
 *
 * usage: churn SETTING... -- MIB 4k|thp REST_SECONDS GAP_MS:ROUNDS...
 *
 * Under icount the time is the number of instructions, as long as there is no gap.
 */
#include "bench.h"

#define WARM_UP_ROUNDS	3

static char *map_and_touch(size_t size, int thp)
{
	char *area = map_pages(size, thp);

	touch(area, size);
	return area;
}

static char *churn(char *area, size_t size, int rounds, int gap_ms, int thp)
{
	while (rounds--) {
		unmap(area, size);
		if (gap_ms)
			usleep(gap_ms * 1000);
		area = map_and_touch(size, thp);
	}
	return area;
}

/* WHAT-GAP */
static const char *name(const char *what, const char *gap)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s-%s", what, gap);
	return text;
}

static void measure(const char *gap, size_t size, int rounds, int thp)
{
	int64_t start;
	char *area;

	mark(name("start", gap));
	counters(name("start", gap));
	area = map_and_touch(size, thp);
	mark(name("begin", gap));
	start = now_ns();
	area = churn(area, size, rounds, atoi(gap), thp);
	value(name("ns", gap), now_ns() - start);
	unmap(area, size);
	mark(name("end", gap));
}

int main(int argc, char **argv)
{
	char **args = arguments(argc, argv, 4, "MIB 4k|thp REST_SECONDS GAP_MS:ROUNDS...");
	size_t size = atoi(args[0]) * MIB;
	int thp = !strcmp(args[1], "thp");

	/* What an emulator translates it keeps, and that takes page faults, too. */
	unmap(churn(map_and_touch(size, thp), size, WARM_UP_ROUNDS, 1, thp), size);
	for (char **arg = args + 3; *arg; arg++) {
		char *rounds = strchr(*arg, ':');

		if (!rounds)
			fail("%s: no ROUNDS", *arg);
		*rounds++ = '\0';
		settle(argv);
		measure(*arg, size, atoi(rounds), thp);
		sleep(atoi(args[2]));
		mark(name("rest", *arg));
		counters(name("rest", *arg));
	}
	finish("churn");
}
