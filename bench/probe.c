// SPDX-License-Identifier: GPL-2.0
/*
 * Free memory, and look at what the guest's kernel has to do about it:
 *
 * usage: probe SETTING... -- latency MIB AFTER_MS WINDOW_MS
 *	How long a page fault takes meanwhile. Values: faults, p50, p99, p99.9,
 *	p99.99, longest, in ns.
 * usage: probe SETTING... -- locks MIB SECONDS
 *	How long zone->lock is held, and interrupts are off. Values: holds, total,
 *	longest (ns), irqsoff (us).
 * usage: probe SETTING... -- scale MIB SECONDS IDLE_SECONDS
 *	What kernel threads use. Values: hints, workers (ns), switches while idle.
 *
 * Under icount a ns is an instruction. Marks: peak, freed, end.
 */
#define _GNU_SOURCE
#include <glob.h>
#include <sched.h>
#include <sys/wait.h>

#include "kthreads.h"

#define TRACING		"/sys/kernel/tracing/"
#define FAULT_AREA	(4 * MIB)
#define SMALL_AREA	(8 * MIB)
#define BUCKET_NS	8
#define BUCKETS		(1 << 18)

/* In a process of its own, which leaves nothing behind. */
static void touch_and_free(size_t size)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (!pid) {
		char *area = map_pages(size, 1);

		touch(area, size);
		mark("peak");
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		fail("the child ended with %d", status);
	mark("freed");
}

static void tell_percentile(const char *name, const uint32_t *buckets, int64_t faults,
			    double share)
{
	int64_t left = faults * share;
	int i = 0;

	while (i < BUCKETS - 1 && left >= buckets[i])
		left -= buckets[i++];
	value(name, (int64_t)i * BUCKET_NS);
}

static void latency(size_t size, int after_ms, int window_ms)
{
	static uint32_t buckets[BUCKETS];
	int64_t end, faults = 0, longest = 0;

	memset(buckets, 0, sizeof(buckets));
	touch_and_free(size);
	usleep(after_ms * 1000);
	end = now_ns() + window_ms * 1000000LL;
	while (now_ns() < end) {
		char *area = map_pages(FAULT_AREA, 0);

		for (size_t at = 0; at < FAULT_AREA; at += PAGE_BYTES) {
			int64_t start = now_ns(), took;

			((volatile char *)area)[at] = 1;
			took = now_ns() - start;
			faults++;
			longest = took > longest ? took : longest;
			took /= BUCKET_NS;
			buckets[took < BUCKETS ? took : BUCKETS - 1]++;
		}
		unmap(area, FAULT_AREA);
	}
	value("faults", faults);
	tell_percentile("p50", buckets, faults, 0.5);
	tell_percentile("p99", buckets, faults, 0.99);
	tell_percentile("p99.9", buckets, faults, 0.999);
	tell_percentile("p99.99", buckets, faults, 0.9999);
	value("longest", longest);
}

/* The line of zone->lock; its times are in us with two decimals. */
static void tell_lock_stat(void)
{
	FILE *file = fopen("/proc/lock_stat", "r");
	double longest, total;
	char line[512], *at;
	int64_t holds;

	if (!file)
		fail("/proc/lock_stat: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		at = strstr(line, "zone->lock:");
		if (!at)
			at = strstr(line, "zone.lock:");
		if (!at)
			continue;
		at = strchr(at, ':') + 1;
		if (sscanf(at, "%*f %*f %*f %*f %*f %*f %*f %" SCNd64 " %*f %lf %lf",
			   &holds, &longest, &total) != 3)
			fail("/proc/lock_stat: %s", line);
		value("holds", holds);
		value("longest", longest * 1000);
		value("total", total * 1000);
		fclose(file);
		return;
	}
	fail("zone->lock is not in /proc/lock_stat");
}

static void locks(size_t size, int seconds)
{
	char text[32] = "";
	int fd;

	touch_and_free(size);
	write_file(TRACING "tracing_max_latency", "0");
	write_file(TRACING "current_tracer", "irqsoff");
	write_file("/proc/lock_stat", "0");
	sleep(seconds);
	tell_lock_stat();
	fd = open(TRACING "tracing_max_latency", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		fail(TRACING "tracing_max_latency: %s", strerror(errno));
	value("irqsoff", atoll(text));
	close(fd);
}

/*
 * With more CPUs than one a thread may share its CPU with the answers of the
 * host or not, and is charged for them or not: have it always do so.
 */
static void all_on_one_cpu(void)
{
	cpu_set_t first;
	glob_t irqs;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(0, sizeof(first), &first))
		fail("sched_setaffinity: %s", strerror(errno));
	if (glob("/proc/irq/*/smp_affinity", 0, NULL, &irqs))
		fail("no /proc/irq/*/smp_affinity");
	for (size_t i = 0; i < irqs.gl_pathc; i++) {
		/* Some cannot be moved. */
		int fd = open(irqs.gl_pathv[i], O_WRONLY | O_CLOEXEC);

		if (fd >= 0 && write(fd, "1", 1) < 0 && errno != EIO && errno != EPERM)
			fail("%s: %s", irqs.gl_pathv[i], strerror(errno));
		close(fd);
	}
	globfree(&irqs);
}

static void scale(size_t size, int seconds, int idle_seconds)
{
	struct kthreads before, after;
	char *area;

	all_on_one_cpu();
	/* After that what boot has left in the page lists is drained ... */
	area = map_pages(SMALL_AREA, 0);
	touch(area, SMALL_AREA);
	munmap(area, SMALL_AREA);
	/* ... and reporting, which waits for 2 s before each pass, has ended. */
	sleep(20);

	before = read_kthreads();
	touch_and_free(size);
	sleep(seconds);
	after = read_kthreads();
	value("hints", after.hints_ns - before.hints_ns);
	value("workers", after.workers_ns - before.workers_ns);
	sleep(idle_seconds);
	value("switches", read_kthreads().switches - after.switches);
}

int main(int argc, char **argv)
{
	char **args = arguments(argc, argv, 3, "latency|locks|scale MIB ...");
	size_t size = atoi(args[1]) * MIB;

	settle(argv);
	counters("begin");
	if (!strcmp(*args, "latency") && args[3])
		latency(size, atoi(args[2]), atoi(args[3]));
	else if (!strcmp(*args, "locks"))
		locks(size, atoi(args[2]));
	else if (!strcmp(*args, "scale") && args[3])
		scale(size, atoi(args[2]), atoi(args[3]));
	else
		fail("no probe %s", *args);
	mark("end");
	counters("end");
	finish("probe");
}
