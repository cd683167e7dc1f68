// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that map, touch and unmap memory, over and over, with a gap after
 * each round; several gaps one after another. Marks: begin-GAP, end-GAP and, when
 * it has been quiet again, rest-GAP. Values: ns-GAP.
 *
 * usage: churn SETTING... -- PROCESSES MIB 4k|thp REST_SECONDS GAP_MS:ROUNDS...
 *
 * Under icount the time is the number of instructions, as long as some process
 * is runnable all the time, which is so with a gap of 0. Where that time begins
 * between two ticks decides how the processes take turns, which matters more
 * than what is measured: let the settings wait for a part of a tick.
 */
#include <sys/wait.h>

#include "bench.h"

#define WARM_UP_ROUNDS	3

static void churn(size_t size, int rounds, int gap_ms, int thp)
{
	for (int i = 0; i < rounds; i++) {
		char *area = map_pages(size, thp);

		touch(area, size);
		unmap(area, size);
		if (gap_ms)
			usleep(gap_ms * 1000);
	}
}

static void run(int processes, size_t size, int rounds, int gap_ms, int thp)
{
	int status;

	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork: %s", strerror(errno));
		if (!pid) {
			churn(size, rounds, gap_ms, thp);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		if (status)
			fail("a process ended with %d", status);
}

int main(int argc, char **argv)
{
	char **args = arguments(argc, argv, 5,
				"PROCESSES MIB 4k|thp REST_SECONDS GAP_MS:ROUNDS...");
	char name[64];
	int64_t start;

	/* What an emulator translates it keeps, and that takes page faults, too. */
	run(atoi(args[0]), atoi(args[1]) * MIB, WARM_UP_ROUNDS, 1, !strcmp(args[2], "thp"));
	for (char **arg = args + 4; *arg; arg++) {
		char *rounds = strchr(*arg, ':');

		if (!rounds)
			fail("%s: no ROUNDS", *arg);
		*rounds++ = '\0';
		settle(argv);
		snprintf(name, sizeof(name), "begin-%s", *arg);
		counters(name);
		mark(name);
		start = now_ns();
		run(atoi(args[0]), atoi(args[1]) * MIB, atoi(rounds), atoi(*arg),
		    !strcmp(args[2], "thp"));
		start = now_ns() - start;
		snprintf(name, sizeof(name), "end-%s", *arg);
		mark(name);
		counters(name);
		snprintf(name, sizeof(name), "ns-%s", *arg);
		value(name, start);
		sleep(atoi(args[3]));
		snprintf(name, sizeof(name), "rest-%s", *arg);
		mark(name);
		counters(name);
	}
	finish("churn");
}
