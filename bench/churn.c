// SPDX-License-Identifier: GPL-2.0
/*
 * Processes that map, touch and unmap memory, over and over.
 *
 * usage: churn PROCESSES MIB ROUNDS GAP_MS 4k|thp PHASE_US
 *		[TUNABLE=VALUE]...	of page hinting, or a path below /
 *
 * Tells the host how long that took. Under icount this is the number of
 * instructions, as long as some process is runnable all the time, which is so
 * with a gap of 0. Where that time begins between two ticks, PHASE_US, decides
 * how the processes take turns, which matters more than what is measured: take
 * a median over some. Then how much each counter of page hinting has grown.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "port.h"

#define MIB		(1UL << 20)
#define PAGE		4096UL
#define SETTLE_S	3

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int churn(size_t size, int rounds, int gap_ms, int advice)
{
	for (int i = 0; i < rounds; i++) {
		char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || madvise(p, size, advice)) {
			perror("churn");
			return 1;
		}
		for (size_t at = 0; at < size; at += PAGE)
			p[at] = 1;
		munmap(p, size);
		if (gap_ms)
			usleep(gap_ms * 1000);
	}
	return 0;
}

static int run(int processes, size_t size, int rounds, int gap_ms, int advice)
{
	int status, failed = 0;

	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (!pid)
			_exit(churn(size, rounds, gap_ms, advice));
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed;
}

#define MAX_EVENTS	32

struct event {
	char name[64];
	int64_t value;
};

static int read_events(struct event *events)
{
	FILE *file = fopen("/proc/vmstat", "r");
	char line[128];
	int n = 0;

	while (file && n < MAX_EVENTS && fgets(line, sizeof(line), file))
		if (!strncmp(line, "page_hint_", 10) &&
		    sscanf(line, "%63s %" SCNd64, events[n].name,
			   &events[n].value) == 2)
			n++;
	if (file)
		fclose(file);
	return n;
}

static int set_tunable(char *setting)
{
	char path[128], *value = strchr(setting, '=');
	FILE *file;

	if (!value)
		return -1;
	*value++ = '\0';
	snprintf(path, sizeof(path), "%s%s",
		 *setting == '/' ? "" : "/sys/kernel/mm/page_hinting/", setting);
	file = fopen(path, "w");
	if (!file || fputs(value, file) < 0 || fclose(file)) {
		perror(path);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct event before[MAX_EVENTS], after[MAX_EVENTS];
	int port, advice, failed, n;
	int64_t start, end;

	if (argc < 7)
		return 2;
	for (int i = 7; i < argc; i++)
		if (set_tunable(argv[i]))
			return 2;
	advice = strcmp(argv[5], "thp") ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
	port = port_open("org.page-hinting.bench");
	if (port < 0)
		return 2;

	/* What was free at boot is hinted by then. */
	sleep(SETTLE_S);
	usleep(atoi(argv[6]));
	n = read_events(before);
	start = now_ns();
	failed = run(atoi(argv[1]), atoi(argv[2]) * MIB, atoi(argv[3]),
		      atoi(argv[4]), advice);
	end = now_ns();
	read_events(after);
	dprintf(port, "ns %" PRId64 "\n", end - start);
	for (int i = 0; i < n; i++)
		dprintf(port, "%s %" PRId64 "\n", after[i].name,
			after[i].value - before[i].value);

	printf("TAP version 13\n1..1\n%sok 1 churn\n", failed ? "not " : "");
	return failed;
}
