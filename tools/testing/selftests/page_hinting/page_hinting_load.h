/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that is freed and must be told of, processes that allocate and free all
 * the time, and what is done meanwhile.
 */
#ifndef PAGE_HINTING_LOAD_H
#define PAGE_HINTING_LOAD_H

#include <signal.h>
#include <sys/wait.h>

#include "page_hinting_util.h"

#define LOOPS		5
#define CHURN		MIB(32)		/* what a child uses again and again */
#define CHILDREN	2

/* Bytes in free blocks that are large enough to be told of. */
static inline size_t free_in_blocks(void)
{
	size_t order, least = get_tunable("order"), bytes = 0;
	unsigned long count;
	char text[8192];
	const char *at;
	int used;

	if (read_text("/proc/buddyinfo", text, sizeof(text)))
		ksft_exit_fail_perror("/proc/buddyinfo");
	for (at = text; (at = strstr(at, "zone")); ) {
		if (sscanf(at, "zone %*s%n", &used) < 0)
			break;
		at += used;
		for (order = 0; sscanf(at, " %lu%n", &count, &used) == 1; order++) {
			bytes += order < least ? 0 : (count << order) * getpagesize();
			at += used;
		}
	}
	return bytes;
}

/*
 * Most of what was freed since then has merged to blocks, and nearly all of that
 * is told. Memory in use keeps the rest from merging, more of little than of much.
 */
static inline bool merged_and_told(const struct hints *before,
				   size_t free_before, size_t len)
{
	long deadline = now_ms() + PATIENCE_MS;
	size_t merged, told, least = percent(len, len > FEW ? 80 : 50);
	struct hints after;
	bool good;

	do {
		good = settle(&after);
		merged = free_in_blocks() - free_before;
		told = reported_since(before);
		good &= merged >= least && told >= least &&
			told >= percent(merged, 90);
	} while (!good && now_ms() < deadline);
	ksft_print_msg("of %zu MiB %zd merged, %zu reported\n", len >> 20,
		       (ssize_t)merged >> 20, told >> 20);
	return good;
}

/* What lies between others' pages, held while something else is looked at. */
static struct {
	char *mem;
	size_t len;
} gaps;

static inline void release_gaps(void)
{
	if (gaps.len)
		munmap(gaps.mem, gaps.len);
	gaps.len = 0;
}

/*
 * Nearly all of it out of blocks that were whole, which it becomes again when it
 * is freed. What others have left between their pages is used up before, as far
 * as that is no more than @len.
 */
static inline char *touch_blocks(size_t len)
{
	size_t touched = 0, missing = len, blocks, taken;
	char *mem;

	release_gaps();
	blocks = free_in_blocks();
	mem = map_memory(2 * len, MADV_NOHUGEPAGE);
	while (missing > len / 20 && touched + missing <= 2 * len) {
		memset(mem + touched, 1, missing);
		touched += missing;
		taken = free_in_blocks();
		taken = taken < blocks ? blocks - taken : 0;
		missing = taken < len ? (len - taken) & ~(MIB(1) - 1) : 0;
	}
	if (missing > len / 20)
		ksft_print_msg("%zu MiB lie between others' pages\n", missing >> 20);
	munmap(mem + touched, 2 * len - touched);
	gaps.mem = mem;
	gaps.len = touched - len;
	return mem + gaps.len;
}

/* Free the last of what is touched: none of it lies between others' pages. */
static inline bool hints_arrive_of(size_t len)
{
	struct hints before;
	char *mem = touch_blocks(STEP);
	bool good = settle(&before);
	size_t blocks = free_in_blocks();

	munmap(mem + STEP - len, len);
	good &= merged_and_told(&before, blocks, len);
	munmap(mem, STEP - len);
	return good;
}

static inline bool hints_arrive(void)
{
	return hints_arrive_of(STEP);
}

/* Where the page is in physical memory; for root only. */
static inline unsigned long long address_of(const void *mem)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned long long entry = 0;
	off_t from = (uintptr_t)mem / getpagesize() * sizeof(entry);

	if (fd < 0 || pread(fd, &entry, sizeof(entry), from) != sizeof(entry))
		ksft_exit_fail_perror("/proc/self/pagemap");
	close(fd);
	return (entry & PFN_MASK) * getpagesize();
}

static pid_t children[CHILDREN];

static inline void start_churn(void)
{
	int i;

	for (i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (children[i] < 0)
			ksft_exit_fail_perror("fork");
		while (!children[i])
			munmap(touch(CHURN, i & 1 ? MADV_HUGEPAGE :
						    MADV_NOHUGEPAGE), CHURN);
	}
}

/* Did all of them live until now? */
static inline bool stop_churn(void)
{
	bool good = true;
	int i, status;

	for (i = 0; i < CHILDREN; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], &status, 0);
		good &= WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	if (!good)
		ksft_print_msg("a child has ended early\n");
	return good;
}

/* Write one text, and after a while another, several times, under load. */
static inline bool toggle(const char *off_path, const char *off,
			  const char *on_path, const char *on)
{
	int i, err = 0;
	bool lived;

	start_churn();
	for (i = 0; i < LOOPS && !err; i++) {
		sleep_ms(200);
		err = write_text(off_path, off);
		sleep_ms(200);
		err = write_text(on_path, on) ?: err;
	}
	lived = stop_churn();
	if (err)
		ksft_print_msg("%s: %s\n", off_path, strerror(-err));
	return lived && !err;
}

#endif /* PAGE_HINTING_LOAD_H */
