/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel threads cost that give memory back: page hinting has its own;
 * page reporting runs in a worker, and what the other workers do a guest without a
 * device shows. Under icount a ns is an instruction.
 */
#ifndef KTHREADS_H
#define KTHREADS_H

#include "bench.h"

struct kthreads {
	int64_t hints_ns;	/* of CPU, all khintd */
	int64_t workers_ns;	/* all workers */
	int64_t switches;	/* of khintd */
};

static inline int64_t switches_of(const char *pid)
{
	char path[300], line[128];
	int64_t number, sum = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %" SCNd64, &number) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %" SCNd64, &number) == 1)
			sum += number;
	if (file)
		fclose(file);
	return sum;
}

static inline struct kthreads read_kthreads(void)
{
	struct kthreads sum = { 0 };
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	clockid_t clock;

	while (dir && (entry = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *file;
		int hints;

		if (*entry->d_name < '0' || *entry->d_name > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = fopen(path, "r");
		if (file && !fgets(name, sizeof(name), file))
			*name = '\0';
		if (file)
			fclose(file);
		hints = !strncmp(name, "khintd/", 7);
		if (!hints && strncmp(name, "kworker", 7))
			continue;
		if (hints)
			sum.switches += switches_of(entry->d_name);
		if (!clock_getcpuclockid(atoi(entry->d_name), &clock))
			*(hints ? &sum.hints_ns : &sum.workers_ns) += clock_ns(clock);
	}
	if (dir)
		closedir(dir);
	return sum;
}

#endif /* KTHREADS_H */
