/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Processes that allocate and free all the time, and what is done meanwhile.
 */
#ifndef PAGE_HINTING_LOAD_H
#define PAGE_HINTING_LOAD_H

#include <signal.h>
#include <sys/wait.h>

#include "page_hinting_util.h"

#define LOOPS		5
#define CHURN		MIB(32)		/* what a child uses again and again */
#define CHILDREN	2

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
