/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of page hinting share: the tunables, the counters, and memory
 * to be freed. What cannot go wrong ends the program if it does.
 */
#ifndef PAGE_HINTING_UTIL_H
#define PAGE_HINTING_UTIL_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "kselftest.h"

#define HINT_DIR	"/sys/kernel/mm/page_hinting/"
#define BALLOON_DIR	"/sys/bus/virtio/drivers/virtio_balloon/"

#define MIB(n)		((size_t)(n) << 20)

/* The frame number in an entry of pagemap. */
#define PFN_MASK	((1ULL << 55) - 1)

/* What most tests free, and what per-CPU page lists can hold. */
#define STEP		MIB(128)
#define FEW		MIB(16)

/* What should happen soon has to happen within this time. */
#define PATIENCE_MS	20000

/* Nothing may be reported for so long beyond age_ms to be called quiet. */
#define QUIET_MS	400
#define POLL_MS		20

/* Feature bits of a virtio balloon that hints can go through. */
#define F_REPORTING	5
#define F_PAGE_HINTING	22

/* Counters in /proc/vmstat: entries, and pages from isolated on. */
struct hints {
	unsigned long captured;
	unsigned long overflowed;
	unsigned long stale;
	unsigned long duplicate;
	unsigned long aged;
	unsigned long swept;
	unsigned long isolated;
	unsigned long reported;
	unsigned long failed;
	unsigned long reused;
};

#define HINT_COUNTER(name)	{ "page_hint_" #name, offsetof(struct hints, name) }

static const struct hint_counter {
	const char *name;
	size_t offset;
} hint_counters[] = {
	HINT_COUNTER(captured),
	HINT_COUNTER(overflowed),
	HINT_COUNTER(stale),
	HINT_COUNTER(duplicate),
	HINT_COUNTER(aged),
	HINT_COUNTER(swept),
	HINT_COUNTER(isolated),
	HINT_COUNTER(reported),
	HINT_COUNTER(failed),
	HINT_COUNTER(reused),
};

static const char * const tunable_names[] = {
	"enabled", "order", "min_age_ms", "max_inflight_kb", "capture_entries",
};

struct tunables {
	unsigned long value[ARRAY_SIZE(tunable_names)];
};

static inline void sleep_ms(unsigned int ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&left, &left))
		;
}

static inline long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns 0 or -errno. */
static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Returns 0 or -errno; the last newline is cut off. */
static inline int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + len, size - 1 - len)) > 0)
		len += n;
	n = n < 0 ? -errno : 0;
	close(fd);
	if (len && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	return n;
}

/* The number after a name at the start of a line of a file in /proc. */
static inline unsigned long number_after(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *line;

	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, len) && strchr(" :", line[len]))
			return strtoul(line + len + 1, NULL, 10);
	}
	ksft_exit_fail_msg("there is no %s\n", name);
}

static inline unsigned long proc_number(const char *path, const char *name)
{
	char text[32768];

	if (read_text(path, text, sizeof(text)))
		ksft_exit_fail_perror(path);
	return number_after(text, name);
}

static inline size_t meminfo_bytes(const char *name)
{
	return proc_number("/proc/meminfo", name) * 1024;
}

/* MemFree, and what per-CPU page lists hold. */
static inline size_t free_memory(void)
{
	size_t pages = 0;
	char text[65536];
	const char *at;

	if (read_text("/proc/zoneinfo", text, sizeof(text)))
		ksft_exit_fail_perror("/proc/zoneinfo");
	for (at = text; (at = strstr(at, " count:")); at++)
		pages += strtoul(at + 7, NULL, 10);
	return meminfo_bytes("MemFree") + pages * getpagesize();
}

static inline unsigned long max_page_order(void)
{
	unsigned long columns = 0;
	char text[8192], *word;

	if (read_text("/proc/buddyinfo", text, sizeof(text)))
		ksft_exit_fail_perror("/proc/buddyinfo");
	text[strcspn(text, "\n")] = '\0';
	for (word = strtok(text, " "); word; word = strtok(NULL, " "))
		columns++;
	/* "Node 0, zone DMA" comes first, and orders start at 0. */
	return columns - 5;
}

static inline unsigned long get_tunable(const char *name)
{
	char path[128], text[32], *end;
	unsigned long value;

	snprintf(path, sizeof(path), HINT_DIR "%s", name);
	if (read_text(path, text, sizeof(text)))
		ksft_exit_fail_perror(path);
	value = strtoul(text, &end, 10);
	if (end == text || *end)
		ksft_exit_fail_msg("%s holds '%s'\n", name, text);
	return value;
}

static inline int write_tunable(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), HINT_DIR "%s", name);
	return write_text(path, text);
}

static inline void set_tunable(const char *name, unsigned long value)
{
	char text[32];
	int err;

	snprintf(text, sizeof(text), "%lu", value);
	err = write_tunable(name, text);
	if (err)
		ksft_exit_fail_msg("%s refuses %s: %s\n", name, text,
				   strerror(-err));
}

static inline void save_tunables(struct tunables *saved)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tunable_names); i++)
		saved->value[i] = get_tunable(tunable_names[i]);
}

static inline void restore_tunables(const struct tunables *saved)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tunable_names); i++)
		if (get_tunable(tunable_names[i]) != saved->value[i])
			set_tunable(tunable_names[i], saved->value[i]);
}

static inline void read_hints(struct hints *hints)
{
	char text[32768];
	size_t i;

	if (read_text("/proc/vmstat", text, sizeof(text)))
		ksft_exit_fail_perror("/proc/vmstat");
	for (i = 0; i < ARRAY_SIZE(hint_counters); i++)
		*(unsigned long *)((char *)hints + hint_counters[i].offset) =
			number_after(text, hint_counters[i].name);
}

/* What was reported since then, in bytes. */
static inline size_t reported_since(const struct hints *before)
{
	struct hints now;

	read_hints(&now);
	return (now.reported - before->reported) * getpagesize();
}

/* Did each capture and each isolated page end in exactly one way? */
static inline bool balanced(const struct hints *h)
{
	return h->captured == h->stale + h->duplicate + h->aged &&
	       h->isolated == h->reported + h->failed &&
	       !get_tunable("inflight_kb");
}

/*
 * Wait until all that was captured is settled and nothing more is reported.
 * Captures happen all the time, so sums that do not come out are looked at
 * again. Returns false if they never do.
 */
static inline bool settle(struct hints *h)
{
	long since = now_ms(), deadline = since + PATIENCE_MS, age, most = 0;
	struct hints base;

	read_hints(&base);
	while (now_ms() < deadline) {
		/* Each look leaves some KiB that KASAN keeps: not too often. */
		sleep_ms(QUIET_MS / 4);
		/* Something may still wait for an age that was longer. */
		age = get_tunable("age_ms");
		most = age > most ? age : most;
		read_hints(h);
		/* A block now and then is the noise of an idle system. */
		if ((h->reported - base.reported) * getpagesize() > MIB(4)) {
			base = *h;
			since = now_ms();
		}
		if (now_ms() - since >= most * 3 / 2 + QUIET_MS && balanced(h))
			return true;
	}
	ksft_print_msg("%lu captured, %lu stale + %lu duplicate + %lu aged\n",
		       h->captured, h->stale, h->duplicate, h->aged);
	ksft_print_msg("%lu isolated, %lu reported + %lu failed\n",
		       h->isolated, h->reported, h->failed);
	ksft_print_msg("%lu KiB in flight, %zu MiB reported lately\n",
		       get_tunable("inflight_kb"), reported_since(&base) >> 20);
	return false;
}

/* Wait until at least so many bytes were reported since then. */
static inline bool expect_reported(const struct hints *before, size_t bytes)
{
	long deadline = now_ms() + PATIENCE_MS;
	size_t seen;

	do {
		seen = reported_since(before);
		if (seen >= bytes)
			return true;
		sleep_ms(POLL_MS);
	} while (now_ms() < deadline);
	ksft_print_msg("%zu MiB reported, at least %zu expected\n",
		       seen >> 20, bytes >> 20);
	return false;
}

static inline size_t thp_size(void)
{
	char text[32];

	if (read_text("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text,
		      sizeof(text)))
		return 0;
	return strtoul(text, NULL, 10);
}

/* Memory that starts where a huge page can; nothing is touched. */
static inline char *map_memory(size_t len, int advice)
{
	size_t align = thp_size() ?: (size_t)getpagesize();
	char *map, *mem;

	map = mmap(NULL, len + align, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	mem = (char *)(((uintptr_t)map + align - 1) & ~(align - 1));
	if (mem > map)
		munmap(map, mem - map);
	munmap(mem + len, map + align - mem);
	/* Without huge pages there is no advice to give. */
	if (madvise(mem, len, advice) && thp_size())
		ksft_exit_fail_perror("madvise");
	return mem;
}

static inline char *touch(size_t len, int advice)
{
	char *mem = map_memory(len, advice);

	memset(mem, 1, len);
	return mem;
}

/* The name of a bound balloon that has a queue for hints. */
static inline bool find_balloon(char *name, size_t size)
{
	char path[512], features[128];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	dir = opendir(BALLOON_DIR);
	while (dir && !found && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), BALLOON_DIR "%s/features",
			 entry->d_name);
		if (read_text(path, features, sizeof(features)) ||
		    strlen(features) <= F_PAGE_HINTING)
			continue;
		found = features[F_PAGE_HINTING] == '1' ||
			features[F_REPORTING] == '1';
		snprintf(name, size, "%.*s", (int)size - 1, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Skip everything where there is nothing to test. */
static inline void require_tunables(void)
{
	if (geteuid())
		ksft_exit_skip("not root\n");
	if (access(HINT_DIR, F_OK))
		ksft_exit_skip("no " HINT_DIR "\n");
}

static inline void require_hinting(void)
{
	char name[64];

	require_tunables();
	if (!find_balloon(name, sizeof(name)))
		ksft_exit_skip("no virtio balloon that takes hints\n");
	if (!get_tunable("enabled"))
		ksft_exit_skip("page hinting is turned off\n");
}

static inline size_t percent(size_t bytes, unsigned int n)
{
	return bytes / 100 * n;
}

static inline int pass_if(bool good)
{
	return good ? KSFT_PASS : KSFT_FAIL;
}

struct test {
	const char *name;
	int (*run)(void);
};

/*
 * KASAN keeps what the kernel frees, up to a share of all memory, and takes whole
 * blocks for it: let it have these before any are counted.
 */
static inline void fill_quarantine(void)
{
	size_t slab = 0, more = meminfo_bytes("Slab");
	long deadline = now_ms() + PATIENCE_MS;
	struct hints unused;
	int i;

	while (more > slab + MIB(1) / 4 && now_ms() < deadline) {
		slab = more;
		for (i = 0; i < 200; i++)
			read_hints(&unused);
		more = meminfo_bytes("Slab");
	}
}

/* Whatever a test did, in the end every capture and page is accounted for. */
static inline void run_tests(const struct test *tests, size_t nr)
{
	struct tunables saved;
	struct hints hints;
	int result;

	ksft_set_plan(nr);
	fill_quarantine();
	for (; nr; nr--, tests++) {
		save_tunables(&saved);
		result = tests->run();
		restore_tunables(&saved);
		if (result == KSFT_PASS && !settle(&hints))
			result = KSFT_FAIL;
		ksft_test_result_report(result, "%s\n", tests->name);
	}
	ksft_finished();
}

#endif /* PAGE_HINTING_UTIL_H */
