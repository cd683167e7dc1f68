// SPDX-License-Identifier: GPL-2.0
/*
 * A build, as memory sees it: many short processes, a few at a time, that use
 * memory for a while and leave files behind; then a lull, in which a part of the
 * files goes; and again. The same seed gives the same work.
 *
 * Meanwhile the free memory is sampled: what is not free is the least that the
 * host could have given at that time, in pages, and what is not free in huge
 * blocks is the least in huge pages. Values: floor-4k, floor-2m in MiB ms. A host
 * that has no more than the latter in a lull has to find anew what the next burst
 * takes at its peak: anew-2m in MiB. Marks: begin, end.
 *
 * usage: mix SETTING... -- MEMORY_MIB BURSTS JOBS LULL_SECONDS SEED
 */
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench.h"

#define AT_ONCE		2
#define SAMPLE_US	50000
#define CHUNK		(2 * MIB)
#define JOB_MIN		8
#define JOB_MAX		200
#define FILE_MAX	12
#define HUGE_ORDER	9

struct floors {
	volatile int stop, lull;
	int64_t small, huge;	/* MiB ms */
	int64_t anew;		/* MiB */
};

/* Free pages, and those of them in blocks of HUGE_ORDER and above. */
static void read_free(int64_t *all, int64_t *huge)
{
	FILE *file = fopen("/proc/buddyinfo", "r");
	char line[512], *at;

	*all = *huge = 0;
	while (file && fgets(line, sizeof(line), file)) {
		at = strstr(line, "zone");
		/* Behind the word comes the zone's name, then a number per order. */
		at = at ? at + strcspn(at, " ") : line;
		at += strspn(at, " ");
		at += strcspn(at, " ");
		for (int order = 0; *at && *at != '\n'; order++) {
			int64_t pages = strtoll(at, &at, 10) << order;

			*all += pages;
			*huge += order >= HUGE_ORDER ? pages : 0;
			at += strspn(at, " ");
		}
	}
	if (file)
		fclose(file);
}

/* From the least of a lull to the most of the burst after it. */
static void follow(struct floors *floors, int64_t floor)
{
	static int64_t low, high;
	static int lull = 1;
	int was_lull = lull;

	/* Once: it may change at any time. */
	lull = floors->lull;
	if (!low)
		low = floor;
	if (lull && !was_lull)
		floors->anew += high - low;
	if (lull)
		low = was_lull && low < floor ? low : floor;
	else
		high = !was_lull && high > floor ? high : floor;
}

static void sample(struct floors *floors, int64_t memory_mib)
{
	int64_t last = now_ns(), all, huge;

	read_free(&all, &huge);
	while (!floors->stop) {
		int64_t now, ms;

		follow(floors, memory_mib - (huge >> 8));
		usleep(SAMPLE_US);
		now = now_ns();
		ms = (now - last) / 1000000;
		last += ms * 1000000;
		read_free(&all, &huge);
		floors->small += (memory_mib - (all >> 8)) * ms;
		floors->huge += (memory_mib - (huge >> 8)) * ms;
	}
}

/* A compiler: it grows in steps, works on what it has, and writes a file. */
static void job(unsigned int seed, int number)
{
	size_t size = (JOB_MIN + rand_r(&seed) % (JOB_MAX - JOB_MIN)) * MIB;
	size_t out = (1 + rand_r(&seed) % FILE_MAX) * MIB;
	char *area = map_pages(size, rand_r(&seed) % 2), name[64];
	int fd;

	for (size_t at = 0; at < size; at += CHUNK) {
		size_t part = size - at < CHUNK ? size - at : CHUNK;

		touch(area + at, part);
		for (size_t i = 0; i < part; i += 64)
			area[at + i]++;
	}
	snprintf(name, sizeof(name), "/tmp/out-%d", number);
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, area, out < size ? out : size) < 0)
		fail("%s: %s", name, strerror(errno));
	_exit(0);
}

static void await_job(void)
{
	int status;

	if (wait(&status) < 0 || status)
		fail("a job ended with %d", status);
}

static void burst(int first, int jobs, unsigned int seed)
{
	for (int i = first; i < first + jobs; i++) {
		pid_t pid;

		if (i - first >= AT_ONCE)
			await_job();
		pid = fork();
		if (pid < 0)
			fail("fork: %s", strerror(errno));
		if (!pid)
			job(seed * 1000 + i, i);
	}
	for (int i = 0; i < (jobs < AT_ONCE ? jobs : AT_ONCE); i++)
		await_job();
}

/* Every other file is a temporary one. */
static void clean(int first, int jobs)
{
	char name[64];

	for (int i = first; i < first + jobs; i += 2) {
		snprintf(name, sizeof(name), "/tmp/out-%d", i);
		if (unlink(name))
			fail("%s: %s", name, strerror(errno));
	}
}

int main(int argc, char **argv)
{
	char **args = arguments(argc, argv, 5, "MEMORY_MIB BURSTS JOBS LULL_SECONDS SEED");
	struct floors *floors = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int jobs = atoi(args[2]), status;
	pid_t sampler;

	if (floors == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	settle(argv);
	counters("begin");
	floors->lull = 1;
	sampler = fork();
	if (!sampler) {
		sample(floors, atoi(args[0]));
		_exit(0);
	}
	mark("begin");
	for (int i = 0; i < atoi(args[1]); i++) {
		floors->lull = 0;
		burst(i * jobs, jobs, atoi(args[4]));
		floors->lull = 1;
		clean(i * jobs, jobs);
		sleep(atoi(args[3]));
	}
	mark("end");
	floors->stop = 1;
	waitpid(sampler, &status, 0);
	counters("end");
	value("floor-4k", floors->small);
	value("floor-2m", floors->huge);
	value("anew-2m", floors->anew);
	finish("mix");
}
